//! A real Chromium without a window, driven through its own driver (the WebDriver protocol of the W3C).

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// They run.
    On,
    /// They do not.
    Off,
}

/// A browser with one tab; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Process,
    base: String,
    session: String,
    _port: Port,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; nothing, said on standard error, when this machine has no Chromium and no chromedriver.
    ///
    /// # Panics
    /// When it is there and does not start.
    #[must_use]
    #[allow(clippy::print_stderr)]
    pub fn start(scripts: Scripts) -> Option<Self> {
        let there =
            |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
        if !there("chromium") || !there("chromedriver") {
            eprintln!("skipped: chromium and chromedriver are not on PATH; `make tools` as root installs them");
            return None;
        }
        let (port, profile) =
            (Port::lease(), tempfile::Builder::new().prefix("baft-browser-").tempdir().expect("a folder"));
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", port.number())).env("HOME", profile.path());
        let driver = Process::spawn("chromedriver", command);
        let base = format!("http://127.0.0.1:{}", port.number());
        wait_until("chromedriver to be ready", SOON, || {
            let ready = call("GET", &format!("{base}/status"), None).ok()?["value"]["ready"].as_bool()?;
            ready.then_some(())
        });
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--window-size=1280,1000",
            &format!("--user-data-dir={}", profile.path().display()),
        ]
        .map(str::to_owned);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}});
        let answer = call("POST", &format!("{base}/session"), Some(&wanted)).expect("a session");
        let session =
            answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        let browser = Self { driver, base, session, _port: port, _profile: profile };
        if scripts == Scripts::Off {
            let order = json!({"cmd": "Emulation.setScriptExecutionDisabled", "params": {"value": true}});
            browser.ask("POST", "goog/cdp/execute", Some(&order));
        }
        Some(browser)
    }

    fn ask(&self, method: &str, what: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/session/{}/{what}", self.base, self.session);
        let answer = call(method, &url, body).unwrap_or_else(|error| panic!("{what}: {error}; {}", self.driver.logs()));
        answer["value"].clone()
    }

    /// Goes to a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.ask("POST", "url", Some(&json!({"url": url})));
    }

    /// The address it is at.
    #[must_use]
    pub fn address(&self) -> String {
        self.ask("GET", "url", None).as_str().unwrap_or_default().to_owned()
    }

    /// The visible text of the page; nothing while another is being loaded.
    #[must_use]
    pub fn text(&self) -> String {
        let found = self.ask("POST", "element", Some(&json!({"using": "css selector", "value": "body"})));
        // The key is the protocol's constant for "an element".
        let Some(element) = found["element-6066-11e4-a52e-4f735466cecf"].as_str() else { return String::new() };
        self.ask("GET", &format!("element/{element}/text"), None).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows this text.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub fn wait_for(&self, text: &str) {
        let mut last = String::new();
        wait_until(&format!("the page to show {text:?}"), SOON, || {
            last = self.text();
            last.contains(text).then_some(())
        });
    }

    /// What an expression evaluates to in the page.
    #[must_use]
    pub fn eval(&self, expression: &str) -> Value {
        self.ask("POST", "execute/sync", Some(&json!({"script": format!("return {expression}"), "args": []})))
    }

    /// The page as a PNG.
    ///
    /// # Panics
    /// When the browser gives none.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        let encoded = self.ask("GET", "screenshot", None);
        base64::engine::general_purpose::STANDARD.decode(encoded.as_str().unwrap_or_default()).expect("a picture")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser; whatever is left of them goes with the process group.
        let _ = call("DELETE", &format!("{}/session/{}", self.base, self.session), None);
    }
}

fn call(method: &str, url: &str, body: Option<&Value>) -> Result<Value, ureq::Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(SOON)).build().into();
    let mut answer = match (method, body) {
        ("POST", Some(body)) => agent.post(url).content_type("application/json").send(body.to_string())?,
        ("DELETE", _) => agent.delete(url).call()?,
        _ => agent.get(url).call()?,
    };
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?).unwrap_or_default())
}
