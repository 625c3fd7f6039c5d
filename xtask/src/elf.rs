//! The check of the eBPF object (ARCHITECTURE.md, chapter 6): it holds what it should and cannot panic.
//!
//! What it should hold is data, in `xtask/ebpf-expect.toml`.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};
use object::{
    Architecture, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind,
    SymbolKind,
};
use serde::Deserialize;

/// In every mangled name of a function of `core::panicking`, whatever the mangling scheme.
const PANICKING: &str = "4core9panicking";
/// Bytes of one BPF instruction.
const INSTRUCTION: u64 = 8;
/// Where maps are declared: old style and with BTF.
const MAP_SECTIONS: [&str; 2] = ["maps", ".maps"];
/// The kernel's list of licences that open its GPL-only helpers to a program.
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// What the object must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    max_instructions: u64,
    #[serde(rename = "program")]
    programs: Vec<Program>,
    maps: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    section: String,
}

/// Facts about an object that passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Instructions in all sections that hold code.
    pub(crate) instructions: u64,
    /// Number of programs.
    pub(crate) programs: usize,
    /// Number of maps.
    pub(crate) maps: usize,
}

/// Reads the expectation.
///
/// # Errors
/// When the file cannot be read or has an error, with its place.
pub(crate) fn expectation(file: &Path) -> Result<Expectation> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} has an error", file.display()))
}

/// Compares an object with what it should be.
///
/// # Errors
/// All that is wrong with it, one line each.
pub(crate) fn check(object: &[u8], expected: &Expectation) -> Result<Facts> {
    let elf = object::File::parse(object).context("not an ELF file")?;
    if elf.architecture() != Architecture::Bpf {
        bail!("the object is for {:?}, not for BPF", elf.architecture());
    }
    let mut wrong = Vec::new();
    no_panics(&elf, &mut wrong);
    no_undefined_symbols(&elf, &mut wrong);
    for section in [".BTF", ".BTF.ext"] {
        if elf.section_by_name(section).is_none_or(|found| found.size() == 0) {
            wrong.push(format!(
                "there is no {section}: the linker was called without --btf, or without debug information"
            ));
        }
    }
    licence(&elf, &mut wrong);

    let programs = programs(&elf);
    let expected_programs: BTreeSet<Program> = expected.programs.iter().cloned().collect();
    for program in expected_programs.difference(&programs) {
        wrong.push(format!("program {} in section {} is missing", program.name, program.section));
    }
    for program in programs.difference(&expected_programs) {
        wrong.push(format!("program {} in section {} is not expected", program.name, program.section));
    }
    let maps = maps(&elf);
    wrong.extend(expected.maps.difference(&maps).map(|name| format!("map {name} is missing")));
    wrong.extend(maps.difference(&expected.maps).map(|name| format!("map {name} is not expected")));

    let instructions =
        elf.sections().filter(|s| s.kind() == SectionKind::Text).map(|s| s.size()).sum::<u64>() / INSTRUCTION;
    if instructions > expected.max_instructions {
        wrong.push(format!("{instructions} instructions, at most {} are allowed", expected.max_instructions));
    }
    if !wrong.is_empty() {
        bail!(
            "the eBPF object is not as xtask/ebpf-expect.toml and ARCHITECTURE.md want it:\n  {}",
            wrong.join("\n  ")
        );
    }
    Ok(Facts { instructions, programs: programs.len(), maps: maps.len() })
}

fn no_panics(elf: &object::File<'_>, wrong: &mut Vec<String>) {
    for symbol in elf.symbols() {
        if let Ok(name) = symbol.name()
            && name.contains(PANICKING)
        {
            wrong.push(format!(
                "{name}: a panic can be reached; look for indexing, division, unwrap and plain arithmetic"
            ));
        }
    }
}

/// A symbol that is used and not there becomes an instruction the loader refuses.
fn no_undefined_symbols(elf: &object::File<'_>, wrong: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for section in elf.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let Ok(symbol) = elf.symbol_by_index(index) else { continue };
            let name = symbol.name().unwrap_or("a symbol without name");
            if symbol.is_undefined() && seen.insert(name.to_owned()) {
                let place = section.name().unwrap_or("?");
                wrong.push(format!(
                    "{name} is called in {place} at byte {offset:#x} and is not in the object"
                ));
            }
        }
    }
}

fn licence(elf: &object::File<'_>, wrong: &mut Vec<String>) {
    let data = elf.section_by_name("license").and_then(|section| section.data().ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(data);
    let text = text.trim_end_matches('\0');
    if !GPL_COMPATIBLE.contains(&text) {
        wrong.push(format!("the licence is `{text}`: the kernel's helpers need one of {GPL_COMPATIBLE:?}"));
    }
}

/// Global functions outside .text: those are entry points, .text holds what they call.
fn programs(elf: &object::File<'_>) -> BTreeSet<Program> {
    let section_name = |index: SectionIndex| elf.section_by_index(index).ok()?.name().ok().map(str::to_owned);
    elf.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_global())
        .filter_map(|symbol| {
            Some(Program {
                name: symbol.name().ok()?.to_owned(),
                section: section_name(symbol.section_index()?)?,
            })
        })
        .filter(|program| program.section != ".text")
        .collect()
}

fn maps(elf: &object::File<'_>) -> BTreeSet<String> {
    let indexes: Vec<SectionIndex> = MAP_SECTIONS
        .iter()
        .filter_map(|name| elf.section_by_name(name))
        .map(|section| section.index())
        .collect();
    elf.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Data)
        .filter(|symbol| symbol.section_index().is_some_and(|index| indexes.contains(&index)))
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests;
