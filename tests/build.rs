//! Lets the tests find libduckdb where `make tools` puts it.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if let Ok(dir) = std::env::var("DUCKDB_LIB_DIR") {
        // Tests and binaries run from anywhere, so the path must be absolute.
        let dir = std::fs::canonicalize(&dir).unwrap_or_else(|_| Path::new(&dir).to_owned());
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
}
