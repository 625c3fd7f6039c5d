//! Embeds the eBPF object (ARCHITECTURE.md, decision 15): with the eBPF toolchain at hand it sets the cfg `ebpf_embedded`
//! and the compile-time variable `LB_EBPF_OBJECT`, the object's path for `include_bytes!`. Without it, it warns and sets
//! neither, and the crate builds without data path.

#[allow(dead_code, reason = "xtask uses the rest of it")]
#[path = "../xtask/src/ebpf_build.rs"]
mod ebpf_build;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The object is the same for every profile of the host, so one directory beside them serves all: `OUT_DIR` is
/// `<target>/<profile>/build/<package>/out`.
const TARGET_DIR_ABOVE_OUT_DIR: usize = 4;

fn main() -> ExitCode {
    println!("cargo::rustc-check-cfg=cfg(ebpf_embedded)");
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            println!("cargo::error={}", text.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = root.parent().ok_or("lb-user is not inside a workspace")?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = out_dir
        .ancestors()
        .nth(TARGET_DIR_ABOVE_OUT_DIR)
        .ok_or("OUT_DIR is not inside a target directory")?;
    let target_dir = target_dir.join("ebpf");
    watch(root, &target_dir)?;

    let built = ebpf_build::find_toolchain(root)
        .and_then(|toolchain| ebpf_build::build(root, &toolchain, &target_dir, false));
    let object = match built {
        Ok(object) => object,
        Err(error) if error.is_missing_toolchain() => {
            println!("cargo::warning=building without data path: {error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    // A copy of its own, so that nobody changes the file under a crate that is being compiled.
    let copy = out_dir.join("director.bpf.o");
    let bytes = fs::read(&object)?;
    if fs::read(&copy).ok().as_ref() != Some(&bytes) {
        fs::write(&copy, &bytes)?;
    }
    println!("cargo::rustc-cfg=ebpf_embedded");
    println!("cargo::rustc-env=LB_EBPF_OBJECT={}", copy.display());
    Ok(())
}

/// Tells cargo when to run this again: on a change of what the object is made of, and when the set-up has found another
/// toolchain (it then rewrites the note; a path that does not exist would make cargo run this every time).
fn watch(root: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let note = target_dir.join(ebpf_build::TOOLCHAIN_NOTE);
    if !note.exists() {
        fs::create_dir_all(target_dir)?;
        fs::write(&note, "not looked for yet\n")?;
    }
    let sources = [
        "lb-user/build.rs",
        "xtask/src/ebpf_build.rs",
        "lb-ebpf/src",
        "lb-ebpf/Cargo.toml",
        "lb-ebpf/Cargo.lock",
        "lb-common/src",
        "lb-common/Cargo.toml",
    ];
    let existing = sources.iter().map(|source| root.join(source)).filter(|source| source.exists());
    for path in existing.chain([note]) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for variable in [ebpf_build::RUSTC_VARIABLE, ebpf_build::LINKER_VARIABLE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    Ok(())
}
