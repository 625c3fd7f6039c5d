//! What is known of the programs without running them: sizes, the verifier's count, stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context, Result};
use aya::{EbpfLoader, programs::Xdp};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SymbolKind};
use serde::Serialize;

use super::site::{DIRECTOR, Site};

/// One program.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    program: &'static str,
    /// After the verifier's rewriting.
    instructions: u32,
    /// How many the verifier looked at.
    verified: u32,
    /// Machine code.
    machine_bytes: u32,
    /// Bytes of the deepest chain of calls.
    stack: u32,
    /// Whether the program that was measured is the shipped one, instruction for instruction.
    measured_is_shipped: bool,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = if self.measured_is_shipped { "same" } else { "DIFFERS from the shipped one" };
        write!(
            f,
            "{:10} {:>12} {:>9} {:>10} {:>7}  {}",
            self.program, self.instructions, self.verified, self.machine_bytes, tag, self.stack
        )
    }
}

/// Loads the shipped object and compares its programs with the measured ones.
///
/// # Errors
/// When the object cannot be read or the kernel refuses a program.
pub(super) fn gather(shipped: &[u8], measured: &Site) -> Result<Vec<Fact>> {
    let stacks = stacks(shipped)?;
    let mut ebpf =
        EbpfLoader::new().load(shipped).context("the maps of the shipped object cannot be made")?;
    let mut facts = Vec::new();
    for name in DIRECTOR {
        let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        let program: &mut Xdp = program.try_into()?;
        program.load().with_context(|| format!("the kernel refuses program {name}"))?;
        let info = program.info()?;
        facts.push(Fact {
            program: name,
            instructions: info.size_translated().unwrap_or_default() / 8,
            verified: info.verified_instruction_count().unwrap_or_default(),
            machine_bytes: info.size_jitted(),
            stack: stacks.get(name).copied().unwrap_or_default(),
            measured_is_shipped: info.tag() == measured.program(name)?.info()?.tag(),
        });
    }
    Ok(facts)
}

/// One function of an object.
#[derive(Debug, Default)]
struct Function {
    name: String,
    /// Bytes below the frame pointer.
    frame: u32,
    /// Functions it calls or hands to a helper as callback.
    calls: BTreeSet<(SectionIndexKey, u64)>,
}

type SectionIndexKey = usize;

/// Size of an instruction.
const SIZE: usize = 8;
/// The frame pointer.
const R10: u8 = 10;

/// Stack of the deepest chain of calls from each global function, each frame rounded up to 32 bytes as kernels before
/// 6.8 do (kernel/bpf/verifier.c: check_max_stack_depth). Read from the code, because aya keeps no log of a program that
/// loads.
fn stacks(object: &[u8]) -> Result<BTreeMap<String, u32>> {
    let elf = object::File::parse(object).context("not an ELF file")?;
    let mut functions = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let Some(index) = symbol.section_index() else { continue };
        let section = elf.section_by_index(index)?;
        let code = section.data()?;
        let (start, end) = (symbol.address() as usize, (symbol.address() + symbol.size()) as usize);
        let body = code.get(start..end).context("a function lies outside its section")?;
        let relocations = section.relocations().filter(|(at, _)| (start..end).contains(&(*at as usize)));
        let mut targets = BTreeMap::new();
        for (at, relocation) in relocations {
            if let RelocationTarget::Symbol(target) = relocation.target() {
                let target = elf.symbol_by_index(target)?;
                if let Some(of) = target.section_index()
                    && elf.section_by_index(of)?.kind() == object::SectionKind::Text
                {
                    targets.insert(at as usize - start, (of, target.address(), target.kind()));
                }
            }
        }
        let function = scan(symbol.name()?, index, start, body, &targets);
        functions.insert((index.0, symbol.address()), function);
    }
    let depth = |at: &(usize, u64)| depth(&functions, at, 0);
    Ok(functions.iter().map(|(at, function)| (function.name.clone(), depth(at))).collect())
}

fn scan(
    name: &str,
    section: SectionIndex,
    start: usize,
    body: &[u8],
    targets: &BTreeMap<usize, (SectionIndex, u64, SymbolKind)>,
) -> Function {
    let mut function = Function { name: name.to_owned(), ..Function::default() };
    let mut below = |by: i64| function.frame = function.frame.max(u32::try_from(-by).unwrap_or_default());
    // Which registers are copies of the frame pointer, in the order of the code: compilers derive an address right
    // where they take the copy.
    let mut copies = 0_u16;
    let mut calls = BTreeSet::new();
    for (n, instruction) in body.chunks_exact(SIZE).enumerate() {
        let &[code, registers, o0, o1, i0, i1, i2, i3] = instruction else { continue };
        let (to, from) = (registers & 15, registers >> 4);
        let (offset, immediate) = (i16::from_le_bytes([o0, o1]), i32::from_le_bytes([i0, i1, i2, i3]));
        match code & 7 {
            // Loads, and stores.
            1 if from == R10 => below(offset.into()),
            2 | 3 if to == R10 => below(offset.into()),
            _ => {}
        }
        match code {
            // A copy of the frame pointer, and what is added to one.
            0xbf if from == R10 => copies |= 1 << to,
            0x07 if copies >> to & 1 != 0 => below(immediate.into()),
            0xbf | 0xb7 | 0x18 | 0x79 => copies &= !(1 << to),
            _ => {}
        }
        // A call of a function of ours, or its address for a callback.
        let is_call = code == 0x85 && from == 1;
        match targets.get(&(n * SIZE)) {
            Some(&(of, address, kind)) => {
                // Relative to a section, the place is in the instruction: of a call in instructions, less one.
                let inside = match (kind, is_call) {
                    (SymbolKind::Section, true) => (i64::from(immediate) + 1) as u64 * SIZE as u64,
                    (SymbolKind::Section, false) => i64::from(immediate) as u64,
                    _ => 0,
                };
                calls.insert((of.0, address + inside));
            }
            None if is_call => {
                let here = ((start / SIZE) + n) as i64;
                calls.insert((section.0, (here + 1 + i64::from(immediate)) as u64 * SIZE as u64));
            }
            None => {}
        }
    }
    function.calls = calls;
    function
}

/// Calls deeper than the verifier allows.
const TOO_DEEP: u32 = 16;

fn depth(functions: &BTreeMap<(usize, u64), Function>, at: &(usize, u64), level: u32) -> u32 {
    let Some(function) = functions.get(at).filter(|_| level < TOO_DEEP) else { return 0 };
    let below = function.calls.iter().map(|call| depth(functions, call, level + 1)).max().unwrap_or_default();
    function.frame.max(1).next_multiple_of(32) + below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(instructions: &[(u8, u8, u8, i16, i32)]) -> Vec<u8> {
        let bytes = |&(code, to, from, offset, immediate): &(u8, u8, u8, i16, i32)| {
            let [o0, o1] = offset.to_le_bytes();
            let [i0, i1, i2, i3] = immediate.to_le_bytes();
            [code, to | from << 4, o0, o1, i0, i1, i2, i3]
        };
        instructions.iter().flat_map(bytes).collect()
    }

    #[test]
    fn stack_is_what_lies_below_the_frame_pointer_along_the_deepest_chain() {
        // A store at -24, the address of -40 for a helper, a call of the function three instructions on.
        let outer = code(&[
            (0x7b, 10, 1, -24, 0),
            (0xbf, 2, 10, 0, 0),
            (0x07, 2, 0, 0, -40),
            (0x85, 0, 1, 0, 1),
            (0x95, 0, 0, 0, 0),
        ]);
        let inner = code(&[(0x79, 1, 10, -8, 0), (0x07, 3, 0, 0, -400), (0x95, 0, 0, 0, 0)]);
        let none = BTreeMap::new();
        let outer = scan("outer", SectionIndex(1), 0, &outer, &none);
        assert_eq!(outer.frame, 40);
        assert_eq!(outer.calls, BTreeSet::from([(1, 40)]));
        let inner = scan("inner", SectionIndex(1), 40, &inner, &none);
        assert_eq!(inner.frame, 8);
        let functions = BTreeMap::from([((1, 0), outer), ((1, 40), inner)]);
        assert_eq!(depth(&functions, &(1, 0), 0), 64 + 32);
    }
}
