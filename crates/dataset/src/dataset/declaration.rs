//! From `baft-import.toml` to datasets.

use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::toml_reader::{Item, Result, Source, Table};
use super::{
    Column, ColumnType, Dataset, Datasets, Format, IdSource, Kind, Mention, Mentions, SectionFields, Sections,
};
use crate::rows::DatasetId;

/// Tables the importer itself makes.
const RESERVED: [&str; 4] = ["entities", "sections", "edges", "aliases"];

pub(super) fn read(file: &str, text: &str) -> Result<Datasets> {
    let mut top = Table::parse(Source { file, text })?;
    match top.take("version") {
        Some(version) if version.is_one() => {}
        Some(version) => return Err(version.error("must be 1")),
        None => return Err(top.error("must start with: version = 1")),
    }
    let ignored = match top.take("ignore") {
        Some(item) => globs(item)?,
        None => Vec::new(),
    };
    let tables = match top.take("dataset") {
        Some(item) => item.tables()?,
        None => Vec::new(),
    };
    if tables.is_empty() {
        return Err(top.error("must have at least one [[dataset]]"));
    }
    top.finish()?;
    let mut mentions = Mentions::default();
    let mut all: Vec<Dataset> = Vec::new();
    for mut table in tables {
        let at = table.offset;
        let dataset = dataset(&mut table, &mut mentions)?;
        if all.iter().any(|other| other.id == dataset.id) {
            let message = format!("the dataset \"{}\" is declared twice", dataset.id);
            return Err(Source { file, text }.error(at, message));
        }
        table.finish()?;
        all.push(dataset);
    }
    let mentions = Arc::new(mentions);
    for dataset in &mut all {
        dataset.mentions = Arc::clone(&mentions);
        dataset.fingerprint = fingerprint(dataset);
    }
    Ok(Datasets { all, ignored })
}

fn dataset(table: &mut Table<'_>, mentions: &mut Mentions) -> Result<Dataset> {
    let Some(name) = table.take("name") else {
        return Err(table.error("[[dataset]] needs a name"));
    };
    let name = identifier(name)?;
    table.name = format!("dataset \"{name}\"");
    if RESERVED.contains(&name.as_str()) || name.starts_with('_') {
        let reserved = RESERVED.join(", ");
        return Err(
            table.error(format!("cannot have this name: {reserved} and names that start with '_' are the importer's"))
        );
    }
    let Some(files) = table.take("files") else {
        return Err(table.error("needs files, for example files = [\"data/*.yaml\"]"));
    };
    let globs = globs(files)?;
    let format = match table.take("format") {
        None => Format::Yaml,
        Some(item) => choice(item, &[("yaml", Format::Yaml), ("json", Format::Json), ("markdown", Format::Markdown)])?,
    };
    let kind = kind(table, format)?;
    let type_name = match (table.text("type")?, table.take("entities").map(Item::boolean)) {
        (_, Some(Err(error))) => return Err(error),
        (Some(_), Some(Ok(false))) => {
            return Err(table.error("has entities = false, so it cannot have a type"));
        }
        (None, Some(Ok(false))) => None,
        (given, _) => Some(given.unwrap_or_else(|| name.clone())),
    };
    let ids = match table.take("id") {
        None => vec![IdSource::Field("id".to_owned())],
        Some(item) => id_sources(item)?,
    };
    let mut fields = |key, default: &[&str]| -> Result<Vec<String>> {
        let default = || default.iter().map(ToString::to_string).collect();
        Ok(table.texts(key)?.unwrap_or_else(default))
    };
    let titles = fields("title", &["title", "name", "description"])?;
    let tags =
        fields("tags", &["title", "name", "tags", "topics", "entities_mentioned", "cross_refs", "faction", "status"])?;
    let statuses = fields("status", &["status"])?;
    let epistemic_tags = fields("epistemic-tag", &["epistemic_tag"])?;
    let confidences = fields("confidence", &["confidence"])?;
    let dates = fields("date", &["updated_date", "date"])?;
    let aliases = fields("aliases", &[])?;
    let prefix = table.text("prefix")?.unwrap_or_default();
    let schema = table.text("schema")?;
    let sections = sections(table, format)?;
    for mut mention in table.take("mentions").map(Item::tables).transpose()?.unwrap_or_default() {
        let (Some(pattern), Some(id)) = (mention.text("pattern")?, mention.text("id")?) else {
            return Err(mention.error("needs pattern and id"));
        };
        let new = Mention::new(&pattern, &id).map_err(|message| mention.error(message))?;
        mention.finish()?;
        mentions.0.push(new);
    }
    let columns = match table.take("columns") {
        Some(item) => columns(item.table()?)?,
        None => Vec::new(),
    };
    if type_name.is_none() && !columns.is_empty() {
        return Err(table.error("has entities = false, so it cannot have columns"));
    }
    Ok(Dataset {
        id: DatasetId(name),
        type_name,
        schema,
        columns,
        format,
        kind,
        ids,
        prefix,
        titles,
        tags,
        statuses,
        epistemic_tags,
        confidences,
        dates,
        aliases,
        sections,
        mentions: Arc::default(),
        globs,
        fingerprint: String::new(),
    })
}

fn kind(table: &mut Table<'_>, format: Format) -> Result<Kind> {
    let list = table.take("list").map(pointer).transpose()?;
    let declared = match table.take("kind") {
        None => None,
        Some(item) => Some(choice(item, &[("list", true), ("document", false)])?),
    };
    let is_list = declared.unwrap_or(format != Format::Markdown);
    match (is_list, list) {
        (true, _) if format == Format::Markdown => {
            Err(table.error("has format = \"markdown\", so its kind is \"document\""))
        }
        (true, list) => Ok(Kind::List(list.unwrap_or_default())),
        (false, None) => Ok(Kind::Document),
        (false, Some(_)) => Err(table.error("has kind = \"document\", so it cannot have a list")),
    }
}

fn id_sources(item: Item<'_>) -> Result<Vec<IdSource>> {
    let offset_error = item.error("needs at least one field name, \"@STEM\" or \"@stem\"");
    let sources: Vec<_> = item
        .texts()?
        .into_iter()
        .map(|name| match name.as_str() {
            "@STEM" => IdSource::StemUpper,
            "@stem" => IdSource::Stem,
            _ => IdSource::Field(name),
        })
        .collect();
    if sources.is_empty() { Err(offset_error) } else { Ok(sources) }
}

fn sections(table: &mut Table<'_>, format: Format) -> Result<Option<Sections>> {
    let at = table.take("sections");
    let mut names = match table.take("section-fields") {
        Some(item) => Some(item.table()?),
        None => None,
    };
    let mut field = |key: &'static str, default: &str| -> Result<String> {
        let given = names.as_mut().map(|names| names.text(key)).transpose()?.flatten();
        Ok(given.unwrap_or_else(|| default.to_owned()))
    };
    let fields = SectionFields {
        id: field("id", "id")?,
        title: field("title", "title")?,
        level: field("level", "level")?,
        tags: field("tags", "tags")?,
        content: field("content", "content")?,
        children: field("children", "subsections")?,
    };
    if let Some(names) = names {
        names.finish()?;
    }
    let Some(at) = at else { return Ok(None) };
    if format == Format::Markdown {
        let refused = at.error("must be \"headings\" for Markdown");
        return match at.text()?.as_str() {
            "headings" => Ok(Some(Sections::Headings)),
            _ => Err(refused),
        };
    }
    Ok(Some(Sections::List(pointer(at)?, fields)))
}

fn columns(table: Table<'_>) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for (name, item) in table.take_all() {
        if !is_identifier(&name) || name == "id" || name == "extra" {
            return Err(item.error(
                "cannot be a column: names are lower-case letters, digits and '_', and id and \
                 extra are always there",
            ));
        }
        let (column_type, source) = if item.is_table() {
            let mut column = item.table()?;
            let source = column.text("from")?;
            let Some(kind) = column.take("type") else {
                return Err(column.error("needs a type"));
            };
            let fields = column.texts("fields")?;
            let column_type = column_type(kind, fields)?;
            column.finish()?;
            (column_type, source)
        } else {
            (column_type(item, None)?, None)
        };
        columns.push(Column { source: source.unwrap_or_else(|| name.clone()), name, column_type });
    }
    Ok(columns)
}

fn column_type(item: Item<'_>, fields: Option<Vec<String>>) -> Result<ColumnType> {
    let no_fields = item.error("has type \"records\", which needs fields = [\"a\", \"b\"]");
    let extra_fields = item.error("cannot have fields; only type \"records\" can");
    let column_type = choice(
        item,
        &[
            ("text", ColumnType::Text),
            ("integer", ColumnType::Integer),
            ("number", ColumnType::Number),
            ("boolean", ColumnType::Boolean),
            ("date", ColumnType::Date),
            ("text[]", ColumnType::TextList),
            ("json", ColumnType::Json),
            ("records", ColumnType::Records(Vec::new())),
            ("percent-low", ColumnType::PercentLow),
            ("percent-high", ColumnType::PercentHigh),
        ],
    )?;
    match (column_type, fields) {
        (ColumnType::Records(_), Some(fields)) if fields.iter().any(|f| !f.is_empty()) => {
            Ok(ColumnType::Records(fields))
        }
        (ColumnType::Records(_), _) => Err(no_fields),
        (_, Some(_)) => Err(extra_fields),
        (column_type, None) => Ok(column_type),
    }
}

fn choice<T: Clone>(item: Item<'_>, choices: &[(&str, T)]) -> Result<T> {
    let allowed: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    let refused = item.error(format!("must be one of: {}", allowed.join(", ")));
    let text = item.text()?;
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(value.clone()),
        None => Err(refused),
    }
}

fn pointer(item: Item<'_>) -> Result<String> {
    let refused = item.error("must be a JSON pointer: empty, or starting with '/'");
    let text = item.text()?;
    if text.is_empty() || text.starts_with('/') { Ok(text) } else { Err(refused) }
}

fn identifier(item: Item<'_>) -> Result<String> {
    let refused = item.error("must be lower-case letters, digits and '_', not starting with a digit");
    let text = item.text()?;
    if is_identifier(&text) { Ok(text) } else { Err(refused) }
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn globs(item: Item<'_>) -> Result<Vec<GlobMatcher>> {
    let empty = item.error("must name at least one file pattern");
    let refused = item.error("has a pattern that cannot be used; '*', '**', '?' and {a,b} are known");
    let patterns = item.texts()?;
    if patterns.is_empty() {
        return Err(empty);
    }
    patterns
        .iter()
        .map(|pattern| match GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(glob) if !pattern.starts_with('/') => Ok(glob.compile_matcher()),
            _ => Err(refused.clone()),
        })
        .collect()
}

/// A digest of everything that decides a row, mention patterns of all datasets included.
fn fingerprint(dataset: &Dataset) -> String {
    let globs: Vec<_> = dataset.globs.iter().map(|glob| glob.glob().glob()).collect();
    let all = format!(
        "{:?}",
        (
            (&dataset.id, &dataset.type_name, &dataset.schema, &dataset.columns, dataset.format),
            (&dataset.kind, &dataset.ids, &dataset.prefix, &dataset.titles, &dataset.tags),
            (&dataset.statuses, &dataset.epistemic_tags, &dataset.confidences, &dataset.dates),
            (&dataset.aliases, &dataset.sections, &dataset.mentions, globs),
        )
    );
    blake3::hash(all.as_bytes()).to_hex().to_string()
}
