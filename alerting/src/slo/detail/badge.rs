//! A badge for a README or a wall: `SLO 30d | 99.9962 % OK`, as SVG that loads nothing. Pure.

use super::{super::page::percent, Detail};
use crate::slo::{budget::Standing, page::Text};

/// Width of a letter, about: Verdana's at 11 px.
const LETTER: f64 = 6.6;

/// The badge.
pub(in super::super) fn badge(detail: &Detail) -> String {
    let colour = match detail.status {
        Standing::Ok => "#2e7d32",
        Standing::AtRisk => "#b26a00",
        Standing::Breached => "#c62828",
        Standing::NotEnoughData => "#77808f",
    };
    let name = format!("SLO {}", detail.window);
    let said = match detail.availability.budget.ratio {
        Some(ratio) => format!("{} {}", percent(Some(ratio)), detail.status.words()),
        None => detail.status.words().to_owned(),
    };
    let width = |text: &str| (text.chars().count() as f64 * LETTER + 12.0).round();
    let (left, right) = (width(&name), width(&said));
    let total = left + right;
    let (name, said) = (Text(&name), Text(&said));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"20\" role=\"img\" \
         aria-label=\"{service}: {name}: {said}\"><title>{service}: {name}: {said}</title>\
         <clipPath id=\"r\"><rect width=\"{total}\" height=\"20\" rx=\"3\"/></clipPath>\
         <g clip-path=\"url(#r)\"><rect width=\"{left}\" height=\"20\" fill=\"#444b58\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/></g>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{a}\" y=\"14\">{name}</text><text x=\"{b}\" y=\"14\">{said}</text></g></svg>\n",
        service = Text(&detail.service),
        a = left / 2.0,
        b = left + right / 2.0,
    )
}
