//! A mail as a phone shows it, in a real browser, and the button behind its link: pressed there, nobody else is called.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use super::oncall::{node, report};
use crate::common::{
    chromium::Chromium,
    http,
    mail::{self, MailServer, part},
    receiver::Receiver,
};

const SOON: Duration = Duration::from_secs(20);
/// The next step of the escalation; a browser needs some seconds for all that is done before it.
const STEP_SECONDS: u64 = 25;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The HTML of a mail as a file that a browser shows, its picture within.
fn page(read: &Value, file: &Path) -> String {
    let html = text(&part(read, "text/html")["text"]);
    let png = part(read, "image/png");
    let cid = format!("cid:{}", text(&png["id"]).trim_matches(['<', '>']));
    assert!(html.contains(&cid), "{html}");
    let hex = text(&png["text"]);
    let picture = file.with_extension("png");
    let digits: Vec<u8> =
        hex.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    fs::write(&picture, bytes).expect("written");
    fs::write(file, html.replace(&cid, &format!("file://{}", picture.display()))).expect("written");
    format!("file://{}", file.display())
}

#[tokio::test]
async fn a_phone_shows_the_mail_and_its_button_stops_the_escalation() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (server, receiver) = (MailServer::start(dir.path()).await, Receiver::start().await);
    fs::write(dir.path().join("links"), "link-secret").expect("written");
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "Watchkeep <watch@example.org>"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "receivers": [{"name": "ops", "webhook": receiver.url("/ops")}],
        "escalations": [{"name": "all", "steps": [
            {"targets": [{"schedule": "primary"}], "wait_seconds": STEP_SECONDS},
            {"targets": [{"receiver": "ops"}]},
        ]}],
        "pages": {"escalation": "all", "link_secret_file": dir.path().join("links")},
    }))
    .await;
    let node = &cluster.nodes[0];
    let mut browser = Chromium::start(dir.path()).await;
    // One is taken in the browser, the other shows that the next step would have come.
    let long = "https://wiki.example.org/a/very/long/address/without/any/place/to/break/it?and=a&query=too".repeat(2);
    let described = json!({
        "title": "cellar under water: the pump of the_very_long_name_of_a_machine_in_the_cellar_of_the_house does not run",
        "labels": {"service": "pumps", "site": "eu-1"},
        "description": format!("40 cm and rising, see {long}"),
        "details": {"query": "time() > 5", "wiki": long},
    });
    let opened = report(node, described).await;
    let other = report(node, json!({"title": "nobody takes this"})).await;
    let (taken, open) = (text(&opened["id"]), text(&other["id"]));
    let raw = server.wait(&["Message-ID: ", &taken], SOON).await;
    let read = mail::read(&raw);
    browser.open(&page(&read, &dir.path().join("mail.html"))).await;
    let (right, screen) = browser.widths().await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(pictures.join("mail-on-a-phone.png"), browser.picture().await).expect("written");
    assert!(right <= screen, "it reaches to {right}, and the screen to {screen}");
    let shown =
        browser.ask("[...document.images].every(i => i.complete && i.naturalWidth > 100)").await;
    assert_eq!(shown, true, "the picture of the series is there");
    let size =
        browser.ask("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)").await;
    assert!(size.as_f64().is_some_and(|size| size >= 14.0), "{size} px cannot be read");

    // The link as the mail has it, followed in the browser.
    let link = "[...document.links].map(a => a.href).find(href => href.includes('~acknowledge~'))";
    let link = text(&browser.ask(link).await);
    browser.open(&link).await;
    let body = text(&browser.ask("document.body.innerText").await);
    assert!(body.contains("Nobody has taken it yet"), "{body}");
    let (right, screen) = browser.widths().await;
    assert!(right <= screen, "it reaches to {right}, and the screen to {screen}");
    let state = async |id: &str| {
        http::get(&node.url(&format!("/v1/incidents/{id}"))).await.expect("the incident")
    };
    assert_eq!(state(&taken).await["status"], "triggered", "who looks changes nothing");
    browser.press("button").await;
    let body = text(&browser.ask("document.body.innerText").await);
    assert!(body.contains("alice has taken it"), "{body}");
    fs::write(pictures.join("taken-on-a-phone.png"), browser.picture().await).expect("written");
    assert!(receiver.at("/ops").is_empty(), "it took too long: raise STEP_SECONDS");
    let incident = state(&taken).await;
    assert_eq!(
        (&incident["status"], &incident["acknowledged_by"]),
        (&json!("acknowledged"), &json!("alice"))
    );

    // The next step comes for the one that nobody took, and not for this one.
    let within = Duration::from_secs(STEP_SECONDS) + SOON;
    receiver.wait("/ops", 1, within).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told: Vec<Value> = receiver.at("/ops").iter().map(|request| request.json()).collect();
    let about = |id: &str| told.iter().filter(|told| told.to_string().contains(id)).count();
    assert_eq!((about(&open), about(&taken)), (1, 0), "{told:?}");
    assert_eq!(server.mails().iter().filter(|mail| mail.contains(&taken)).count(), 1);
}
