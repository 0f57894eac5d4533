//! Values as real clients write them, and what is mirrored of them.

use bytes::Bytes;
use watchkeep_catalog::{Instance, KeyValue, client::Change, keys};

use super::{
    config::{ForeignConfig, Format, validate},
    mirror::{Mirror, Step},
    read::{MARK, read},
};

fn config(prefix: &str, format: Format, service: &str) -> ForeignConfig {
    let checks = serde_json::from_str(r#"[{"name":"port","tcp":{}}]"#).expect("checks");
    ForeignConfig { prefix: prefix.to_owned(), format, service: service.to_owned(), checks }
}

#[test]
fn values_are_read() {
    let grpc = config("/grpc/", Format::GrpcEndpoints, "{service}");
    let plain = config("/legacy", Format::HostPort, "old-{service}");
    let fixed = config("/one/", Format::HostPort, "one");
    let name =
        |i: Instance| format!("{}/{} {}:{} w{}", i.service, i.id, i.address, i.port, i.weight);
    for (config, key, value, expected) in [
        (
            &grpc,
            "/grpc/web/10.0.0.1:80",
            r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}"#,
            "web/10.0.0.1-80 10.0.0.1:80 w1",
        ),
        (&grpc, "/grpc/a/b/x", r#"{"Addr":"[::1]:80","Metadata":{"weight":7}}"#, "a.b/x ::1:80 w7"),
        (&plain, "/legacy/web/1", "web.example.org:80\n", "old-web/1 web.example.org:80 w1"),
        (&fixed, "/one/[::1]:81", "[::1]:81", "one/1--81 ::1:81 w1"),
    ] {
        assert_eq!(read(config, key, value.as_bytes()).map(name).as_deref(), Ok(expected), "{key}");
    }
    for (config, key, value, part) in [
        (&grpc, "/grpc/web/1", "10.0.0.1:80", "no gRPC endpoint"),
        (&grpc, "/grpc/1", r#"{"Addr":"10.0.0.1:80"}"#, "foreign.service"),
        (&plain, "/legacy/web/1", "10.0.0.1", "host:port"),
        (&plain, "/legacy/web/1", "::1:80", "host:port"),
        (&plain, "/legacy/web/1", "10.0.0.1:0", "port 0"),
        (&plain, "/legacy/w ü/1", "10.0.0.1:1", "service name"),
    ] {
        let error = read(config, key, value.as_bytes()).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
    let text = r#"{"Addr":"h:1","Metadata":{"zone":"eu","build":7,"list":[1]}}"#;
    let full = read(&grpc, "/grpc/web/1", text.as_bytes()).expect("right");
    assert_eq!((full.zone.as_str(), full.checks.len()), ("eu", 1));
    let metadata: Vec<_> = full.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(metadata, ["build=7", "list=[1]", "watchkeep.foreign=/grpc/web/1"]);
}

#[test]
fn settings_are_judged() {
    for (configs, expected) in [
        (vec![config("/a/", Format::HostPort, "a")], ""),
        (vec![config("", Format::HostPort, "a")], "foreign[0].prefix: empty"),
        (vec![config("/watch", Format::HostPort, "a")], "foreign[0].prefix: \"/watch\" overlaps"),
        (
            vec![config("/a/", Format::HostPort, "a"), config("/a/b/", Format::HostPort, "b")],
            "foreign[1].prefix: \"/a/b/\" overlaps",
        ),
        (vec![config("/a/", Format::HostPort, "a b")], "foreign[0].service: service name"),
    ] {
        let wrong = validate(&configs);
        let text: Vec<_> =
            wrong.iter().map(|(path, message)| format!("{path}: {message}")).collect();
        let text = text.join("\n");
        assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
    }
}

fn kv(key: &str, value: impl Into<Bytes>, revision: i64, lease: i64) -> KeyValue {
    let (key, value) = (key.to_owned(), value.into());
    KeyValue { key, value, create_revision: revision, mod_revision: revision, version: 1, lease }
}

/// As the registry does it, where both keys are as they were.
fn perform(mirror: &mut Mirror, step: &Step, revision: i64) {
    match &step.put {
        Some((value, lease)) => {
            let kv = kv(&step.instance, value.clone(), revision, *lease);
            mirror.apply(None, Change::Put(kv));
        }
        None => mirror.apply(None, Change::Delete { key: step.instance.clone(), revision }),
    }
}

fn text(steps: &[Step]) -> String {
    let one = |step: &Step| {
        let place = step.instance.strip_prefix(keys::INSTANCES).expect("an instance");
        let sign = if step.put.is_some() { '+' } else { '-' };
        let lease = step.put.as_ref().map_or(0, |(_, lease)| *lease);
        format!("{sign}{place} {}/{} l{lease}", step.foreign_revision, step.instance_revision)
    };
    steps.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_there_is_mirrored_and_what_goes_goes() {
    let mut mirror = Mirror::new(vec![config("/f/", Format::HostPort, "{service}")]);
    let native = kv(&keys::instance("web", "n"), r#"{"id":"n","address":"h","port":1}"#, 2, 0);
    mirror.apply(Some(0), Change::Reset(vec![kv("/f/web/a", "h:1", 3, 7)], 5));
    assert_eq!(text(&mirror.plan()), "", "the instances are not known yet");
    mirror.apply(None, Change::Reset(vec![native], 5));
    let steps = mirror.plan();
    assert_eq!(text(&steps), "+web/a 3/0 l7");
    perform(&mut mirror, &steps[0], 6);
    assert_eq!(text(&mirror.plan()), "", "it is as it should be");

    // A new lease, and a value that moves.
    mirror.apply(Some(0), Change::Put(kv("/f/web/a", "h:2", 8, 9)));
    let steps = mirror.plan();
    assert_eq!(text(&steps), "+web/a 8/6 l9");
    perform(&mut mirror, &steps[0], 9);

    // What cannot be read changes nothing and is shown; what is native stays.
    mirror.apply(Some(0), Change::Put(kv("/f/web/a", "nonsense", 10, 9)));
    mirror.apply(Some(0), Change::Put(kv("/f/web/n", "h:3", 11, 0)));
    assert_eq!(text(&mirror.plan()), "");
    let state = &mirror.state(1)[0];
    assert_eq!((state.instances, state.invalid, state.problems.len()), (0, 2, 1));
    assert_eq!(mirror.take_news().len(), 1);

    // It goes with its key; somebody who deletes only the mirrored one is set right.
    mirror.apply(Some(0), Change::Put(kv("/f/web/a", "h:2", 12, 9)));
    mirror.apply(None, Change::Delete { key: keys::instance("web", "a"), revision: 13 });
    let steps = mirror.plan();
    assert_eq!(text(&steps), "+web/a 12/0 l9");
    perform(&mut mirror, &steps[0], 14);
    mirror.apply(Some(0), Change::Delete { key: "/f/web/a".to_owned(), revision: 15 });
    let steps = mirror.plan();
    assert_eq!(text(&steps), "-web/a 0/14 l0");
    // A later run that finds what an earlier one left behind.
    let marked =
        format!(r#"{{"id":"b","address":"h","port":1,"metadata":{{"{MARK}":"/f/web/b"}}}}"#);
    let mut later = Mirror::new(vec![config("/f/", Format::HostPort, "{service}")]);
    later.apply(None, Change::Reset(vec![kv(&keys::instance("web", "b"), marked, 20, 0)], 30));
    later.apply(Some(0), Change::Reset(Vec::new(), 30));
    assert_eq!(text(&later.plan()), "-web/b 0/20 l0");
}

#[test]
fn of_two_that_ask_for_one_name_the_first_has_it_until_it_goes() {
    let mut mirror = Mirror::new(vec![config("/f/", Format::HostPort, "web")]);
    mirror.apply(None, Change::Reset(Vec::new(), 1));
    let both = vec![kv("/f/a:1", "h:1", 3, 0), kv("/f/a;1", "h:2", 4, 0)];
    mirror.apply(Some(0), Change::Reset(both, 5));
    let steps = mirror.plan();
    assert_eq!(text(&steps), "+web/a-1 3/0 l0");
    perform(&mut mirror, &steps[0], 6);
    assert_eq!(text(&mirror.plan()), "");
    assert!(mirror.state(9)[0].problems["/f/a;1"].contains("/f/a:1 already"));
    mirror.apply(Some(0), Change::Delete { key: "/f/a:1".to_owned(), revision: 7 });
    let steps = mirror.plan();
    assert!(text(&steps).contains("+web/a-1 4/6 l0"), "{}", text(&steps));
}
