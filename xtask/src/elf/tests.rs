//! Objects made by hand, right and wrong in one way each.

use object::{
    BinaryFormat, Endianness, RelocationEncoding, RelocationFlags, RelocationKind, SymbolFlags, SymbolScope,
    write::{Object as Writer, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection},
};

use super::*;

/// An object under construction, with what every right one has.
struct Sample {
    writer: Writer<'static>,
    xdp: SectionId,
    maps: SectionId,
}

impl Sample {
    fn new(licence: &'static [u8], sections: &[&'static str]) -> Self {
        let mut writer = Writer::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let xdp = writer.add_section(Vec::new(), b"xdp".to_vec(), SectionKind::Text);
        let maps = writer.add_section(Vec::new(), b"maps".to_vec(), SectionKind::Data);
        writer.append_section_data(xdp, &[0; 32], 8);
        let section = writer.add_section(Vec::new(), b"license".to_vec(), SectionKind::ReadOnlyData);
        writer.append_section_data(section, licence, 1);
        for name in sections {
            let section = writer.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Other);
            writer.append_section_data(section, &[1; 8], 1);
        }
        let mut sample = Self { writer, xdp, maps };
        sample.symbol("director", SymbolKind::Text, SymbolSection::Section(xdp));
        sample.symbol("SERVICES", SymbolKind::Data, SymbolSection::Section(maps));
        sample
    }

    fn right() -> Self {
        Self::new(b"Dual MIT/GPL\0", &[".BTF", ".BTF.ext"])
    }

    fn symbol(&mut self, name: &str, kind: SymbolKind, section: SymbolSection) -> SymbolId {
        self.writer.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 8,
            kind,
            scope: SymbolScope::Dynamic,
            weak: false,
            section,
            flags: SymbolFlags::None,
        })
    }

    fn check(self) -> Result<Facts> {
        let expected = r#"
            max_instructions = 4
            maps = ["SERVICES"]
            [[program]]
            name = "director"
            section = "xdp"
        "#;
        check(&self.writer.write().unwrap(), &toml::from_str(expected).unwrap())
    }

    fn complaint(self) -> String {
        self.check().unwrap_err().to_string()
    }
}

#[test]
fn a_right_object_passes() {
    assert_eq!(Sample::right().check().unwrap(), Facts { instructions: 4, programs: 1, maps: 1 });
}

#[test]
fn a_reachable_panic_is_found_in_both_manglings() {
    for name in ["_ZN4core9panicking18panic_bounds_check17h0E", "_RNvNtCs1_4core9panicking5panic"] {
        let mut sample = Sample::right();
        let text = sample.writer.section_id(StandardSection::Text);
        sample.symbol(name, SymbolKind::Text, SymbolSection::Section(text));
        let complaint = sample.complaint();
        assert!(complaint.contains(name) && complaint.contains("panic can be reached"), "{complaint}");
    }
}

#[test]
fn a_call_to_nowhere_is_found() {
    let mut sample = Sample::right();
    let symbol = sample.symbol("bpf_xdp_ct_lookup", SymbolKind::Text, SymbolSection::Undefined);
    let relocation = Relocation {
        offset: 8,
        symbol,
        addend: 0,
        flags: RelocationFlags::Generic {
            kind: RelocationKind::Absolute,
            encoding: RelocationEncoding::Generic,
            size: 64,
        },
    };
    sample.writer.add_relocation(sample.xdp, relocation).unwrap();
    let complaint = sample.complaint();
    assert!(complaint.contains("bpf_xdp_ct_lookup is called in xdp at byte 0x8"), "{complaint}");
}

#[test]
fn missing_btf_is_found() {
    let complaint = Sample::new(b"GPL\0", &[".BTF"]).complaint();
    assert!(
        complaint.contains("there is no .BTF.ext") && !complaint.contains("there is no .BTF:"),
        "{complaint}"
    );
}

#[test]
fn a_licence_without_helpers_is_found() {
    let complaint = Sample::new(b"MIT\0", &[".BTF", ".BTF.ext"]).complaint();
    assert!(complaint.contains("the licence is `MIT`"), "{complaint}");
}

#[test]
fn programs_and_maps_are_exactly_the_expected_ones() {
    let mut sample = Sample::right();
    let (xdp, maps) = (sample.xdp, sample.maps);
    sample.symbol("second", SymbolKind::Text, SymbolSection::Section(xdp));
    sample.symbol("EXTRA", SymbolKind::Data, SymbolSection::Section(maps));
    let complaint = sample.complaint();
    assert!(complaint.contains("program second in section xdp is not expected"), "{complaint}");
    assert!(complaint.contains("map EXTRA is not expected"), "{complaint}");

    let expected = "max_instructions = 4\nmaps = [\"SERVICES\", \"SLOTS\"]\nprogram = []";
    let object = Sample::right().writer.write().unwrap();
    let complaint = check(&object, &toml::from_str(expected).unwrap()).unwrap_err().to_string();
    assert!(complaint.contains("map SLOTS is missing"), "{complaint}");
}

#[test]
fn the_size_has_a_limit() {
    let mut sample = Sample::right();
    sample.writer.append_section_data(sample.xdp, &[0; 8], 8);
    let complaint = sample.complaint();
    assert!(complaint.contains("5 instructions, at most 4"), "{complaint}");
}

#[test]
fn no_object_at_all_is_an_error() {
    let expected: Expectation = toml::from_str("max_instructions = 4\nmaps = []\nprogram = []").unwrap();
    assert!(check(b"", &expected).is_err());
    assert!(check(b"not an object", &expected).is_err());
    let host = fs::read("/proc/self/exe").unwrap();
    assert!(check(&host, &expected).unwrap_err().to_string().contains("not for BPF"));
}

#[test]
fn the_projects_expectation_can_be_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("ebpf-expect.toml");
    let expected = expectation(&file).unwrap();
    assert!(expected.programs.iter().any(|program| program.section == "xdp"));
}
