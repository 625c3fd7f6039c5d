//! Errors of a configuration file, each with its place, the source line underlined, and the remedy.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Bytes of the text that are wrong.
    pub span: Range<usize>,
    /// What is wrong, lower case, no trailing period.
    pub title: String,
    /// What stands under the line, may be empty.
    pub label: String,
    /// The remedy, may be empty.
    pub help: String,
}

/// All errors of a file in the order of their places; `Display` is the text for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    name: String,
    text: String,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn new(name: &str, text: &str, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|d| (d.span.start, d.span.end));
        list.dedup();
        Self { name: name.to_owned(), text: text.to_owned(), list }
    }

    /// The errors, at least one.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for (n, d) in self.list.iter().enumerate() {
            // The last byte is the end of the text: a missing value has no bytes to underline.
            let end = d.span.end.min(self.text.len());
            let start = d.span.start.min(end);
            let mut annotation = AnnotationKind::Primary.span(start..end);
            if !d.label.is_empty() {
                annotation = annotation.label(d.label.as_str());
            }
            let snippet = Snippet::source(self.text.as_str()).path(self.name.as_str()).annotation(annotation);
            let mut group: Group<'_> = Level::ERROR.primary_title(d.title.as_str()).element(snippet);
            if !d.help.is_empty() {
                group = group.element(Level::HELP.message(d.help.as_str()));
            }
            if n > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&renderer.render(&[group]))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects errors while the file is read on.
#[derive(Debug, Default)]
pub(super) struct Errors(RefCell<Vec<Diagnostic>>);

impl Errors {
    pub(super) fn report(
        &self,
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.borrow_mut().push(Diagnostic {
            span,
            title: title.into(),
            label: label.into(),
            help: help.into(),
        });
    }

    /// How many there are by now.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}
