//! Tells the crate which commit and compiler it is built from.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=BAFT_REVISION");
    let given = std::env::var("BAFT_REVISION").ok().filter(|value| !value.is_empty());
    // Asking git in development builds would rebuild every crate after every commit.
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release && given.is_none() {
        println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    } else {
        println!("cargo:rerun-if-changed=build.rs");
    }
    let revision = given
        .or_else(|| release.then(|| output("git", &["rev-parse", "--short=12", "HEAD"])).flatten())
        .unwrap_or_else(|| "dev".to_owned());
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(&compiler, &["--version"]).unwrap_or_else(|| "rustc".to_owned());
    println!("cargo:rustc-env=BAFT_KIT_REVISION={revision}");
    println!("cargo:rustc-env=BAFT_KIT_RUSTC={rustc}");
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
