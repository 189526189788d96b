//! Reading a daemon's metrics.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Values by name and labels, as exported.
pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    pub fn of(admin: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(admin).with_context(|| format!("admin server {admin}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(Self(values.collect()))
    }

    /// The sum over all labels, zero when there is no such metric.
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = |key: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        self.0.iter().filter(|(key, _)| of_name(key)).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// The values of one metric by one of its labels, in the label's order.
    pub fn by_label(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut found: Vec<(String, f64)> = self
            .0
            .iter()
            .filter_map(|(key, value)| {
                let labels = key.strip_prefix(name)?.strip_prefix('{')?;
                let start = labels.find(&format!("{label}=\""))? + label.len() + 2;
                let end = start + labels[start..].find('"')?;
                Some((labels[start..end].to_owned(), *value))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}
