//! Reading a TOML table strictly: every key is asked for, and what is left over is an error.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::DatasetError;

/// Finds lines and makes errors.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub file: &'s str,
    pub text: &'s str,
}

pub(super) type Result<T> = std::result::Result<T, DatasetError>;

impl Source<'_> {
    pub fn error(&self, offset: usize, message: impl Into<String>) -> DatasetError {
        let line = self.text.bytes().take(offset).filter(|&b| b == b'\n').count() + 1;
        DatasetError {
            file: self.file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            message: message.into(),
        }
    }
}

/// A value and where it stands.
pub(super) struct Item<'s> {
    value: DeValue<'s>,
    source: Source<'s>,
    /// How to name it: `"files" of dataset "gaps"`.
    name: String,
    pub offset: usize,
}

impl<'s> Item<'s> {
    pub fn error(&self, message: impl std::fmt::Display) -> DatasetError {
        self.source.error(self.offset, format!("{} {message}", self.name))
    }

    pub fn text(self) -> Result<String> {
        match self.value {
            DeValue::String(text) => Ok(text.into_owned()),
            _ => Err(self.error("must be a text in quotes")),
        }
    }

    pub fn boolean(self) -> Result<bool> {
        match self.value {
            DeValue::Boolean(value) => Ok(value),
            _ => Err(self.error("must be true or false")),
        }
    }

    pub fn is_one(&self) -> bool {
        matches!(&self.value, DeValue::Integer(i) if i.as_str() == "1")
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// A list of texts.
    pub fn texts(self) -> Result<Vec<String>> {
        self.items("texts")?.into_iter().map(Item::text).collect()
    }

    /// A list of tables.
    pub fn tables(self) -> Result<Vec<Table<'s>>> {
        self.items("tables")?.into_iter().map(Item::table).collect()
    }

    fn items(self, of: &str) -> Result<Vec<Item<'s>>> {
        let Item { value, source, name, offset } = self;
        match value {
            DeValue::Array(items) => Ok(items
                .into_iter()
                .map(|item| {
                    let offset = item.span().start;
                    Item { value: item.into_inner(), source, name: name.clone(), offset }
                })
                .collect()),
            _ => Err(source.error(offset, format!("{name} must be a list of {of}"))),
        }
    }

    pub fn table(self) -> Result<Table<'s>> {
        let Item { value, source, name, offset } = self;
        match value {
            DeValue::Table(table) => Ok(Table::new(table, source, name, offset)),
            _ => Err(source.error(offset, format!("{name} must be a table"))),
        }
    }
}

/// A table whose keys are taken one by one.
pub(super) struct Table<'s> {
    entries: Vec<(Spanned<String>, DeValue<'s>)>,
    source: Source<'s>,
    pub name: String,
    pub offset: usize,
    asked: Vec<&'static str>,
}

impl<'s> Table<'s> {
    pub fn parse(source: Source<'s>) -> Result<Self> {
        let table = DeTable::parse(source.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', " ");
            source.error(offset, format!("this is not TOML: {message}"))
        })?;
        Ok(Table::new(table.into_inner(), source, "the declaration".to_owned(), 0))
    }

    fn new(table: DeTable<'s>, source: Source<'s>, name: String, offset: usize) -> Self {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| {
                let span = key.span();
                (Spanned::new(span, key.into_inner().into_owned()), value.into_inner())
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Table { entries, source, name, offset, asked: Vec::new() }
    }

    pub fn error(&self, message: impl std::fmt::Display) -> DatasetError {
        self.source.error(self.offset, format!("{} {message}", self.name))
    }

    /// Takes a key.
    pub fn take(&mut self, key: &'static str) -> Option<Item<'s>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(name, _)| name.get_ref() == key)?;
        let (name, value) = self.entries.remove(at);
        Some(self.item(&name, value))
    }

    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>> {
        self.take(key).map(Item::texts).transpose()
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.take(key).map(Item::text).transpose()
    }

    /// Takes all keys in the order they are written.
    pub fn take_all(self) -> Vec<(String, Item<'s>)> {
        let Table { entries, source, name: table, .. } = self;
        entries
            .into_iter()
            .map(|(name, value)| {
                let offset = name.span().start;
                let name = name.into_inner();
                let item = Item { value, source, name: format!("\"{name}\" of {table}"), offset };
                (name, item)
            })
            .collect()
    }

    /// Refuses keys nobody asked for.
    pub fn finish(self) -> Result<()> {
        let Some((key, _)) = self.entries.first() else { return Ok(()) };
        let message = format!("unknown key \"{}\" in {}; allowed: {}", key.get_ref(), self.name, self.asked.join(", "));
        Err(self.source.error(key.span().start, message))
    }

    fn item(&self, name: &Spanned<String>, value: DeValue<'s>) -> Item<'s> {
        Item {
            value,
            source: self.source,
            name: format!("\"{}\" of {}", name.get_ref(), self.name),
            offset: name.span().start,
        }
    }
}
