//! A real browser without a window, by the DevTools protocol over two pipes: it renders, measures, and presses buttons.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// The program; package `chromium` of `cargo xtask peers`.
const CHROMIUM: &str = "chromium";
/// Longest wait for an answer: it starts slowly on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// A phone's screen.
const PHONE: (u32, u32) = (390, 844);

/// A browser with one page of a phone's size. Ends with this value.
pub struct Chromium {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    loads: u64,
}

impl Chromium {
    /// Starts it; `dir` holds its profile.
    pub async fn start(dir: &Path) -> Self {
        // DevTools speaks by descriptors 3 and 4.
        let script = format!(
            "exec {CHROMIUM} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --disable-background-networking --user-data-dir='{}' --remote-debugging-pipe about:blank \
             3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null",
            dir.join("profile").display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut browser = Self { _child: child, to, from, session: None, calls: 0, loads: 0 };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        let (width, height) = PHONE;
        let phone =
            json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": true});
        browser.call("Emulation.setDeviceMetricsOverride", phone).await;
        browser.call("Page.enable", json!({})).await;
        browser
    }

    async fn message(&mut self) -> Value {
        let mut text = Vec::new();
        let read = timeout(PATIENCE, self.from.read_until(0, &mut text)).await;
        let read = read.expect("an answer of the browser in time").expect("it speaks");
        assert!(read > 0, "{CHROMIUM} ended, or is not installed: `cargo xtask peers` does it");
        let text = text.strip_suffix(&[0]).unwrap_or(&text);
        let message: Value = serde_json::from_slice(text).expect("JSON");
        if message["method"] == "Page.loadEventFired" {
            self.loads += 1;
        }
        message
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).await.expect("it listens");
        self.to.flush().await.expect("it listens");
        loop {
            let message = self.message().await;
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    async fn loaded(&mut self, before: u64) {
        let begun = Instant::now();
        while self.loads == before {
            assert!(begun.elapsed() < PATIENCE, "the page does not load");
            self.message().await;
        }
    }

    /// Goes there and waits until all of it is there.
    pub async fn open(&mut self, url: &str) {
        let before = self.loads;
        let gone = self.call("Page.navigate", json!({"url": url})).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.loaded(before).await;
    }

    /// What an expression comes to on the page.
    pub async fn ask(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// How far to the right the page reaches, and anything on it; and how wide the screen is.
    pub async fn widths(&mut self) -> (f64, f64) {
        let right = "Math.max(document.documentElement.scrollWidth, \
                     ...[...document.querySelectorAll('*')].map(e => e.getBoundingClientRect().right))";
        let right = self.ask(right).await.as_f64().expect("a number");
        (right, f64::from(PHONE.0))
    }

    /// Presses what a selector finds, with the mouse, and waits for the page that comes of it.
    pub async fn press(&mut self, selector: &str) {
        let centre = format!(
            "(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView(); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
        );
        let centre = self.ask(&centre).await;
        let before = self.loads;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": centre[0], "y": centre[1], "button": "left",
                               "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
        self.loaded(before).await;
    }

    /// What the whole page looks like, as PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", whole).await;
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }
}
