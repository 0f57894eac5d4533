//! Response codes by name (IANA's registry of RCODEs, which blackbox_exporter's `valid_rcodes` follows). Pure.

use hickory_proto::op::ResponseCode;

const NAMES: [(&str, u16); 19] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// The code of a name.
///
/// # Errors
/// When there is none of that name.
pub(super) fn read(name: &str) -> Result<ResponseCode, String> {
    // Two older spellings that are also in use.
    let known = match name {
        "NOTIMPL" => "NOTIMP",
        "BADVERS" => "BADSIG",
        other => other,
    };
    let found = NAMES.iter().find(|(name, _)| *name == known);
    let (_, code) = found.ok_or_else(|| {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("dns.valid_rcodes has {name:?}: give one of {}", names.join(", "))
    })?;
    Ok((*code).into())
}

/// The name of a code, or its number.
pub(super) fn name(code: ResponseCode) -> String {
    let code = u16::from(code);
    let found = NAMES.iter().find(|(_, known)| *known == code);
    found.map_or_else(|| format!("RCODE {code}"), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, _) in NAMES {
            assert_eq!(read(text).map(name).as_deref(), Ok(text));
        }
        assert_eq!(read("NOTIMPL").map(name).as_deref(), Ok("NOTIMP"));
        let error = read("noerror").expect_err("lower case");
        assert!(
            error.starts_with("dns.valid_rcodes has \"noerror\": give one of NOERROR, "),
            "{error}"
        );
    }
}
