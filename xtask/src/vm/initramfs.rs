//! The file system of the test machine: one archive that the kernel unpacks into memory.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use super::packages::Parts;
use crate::run;

const INIT: &str = include_str!("init.sh");

/// A test program to run in the machine.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its name in reports.
    pub(crate) name: String,
    /// The program on this machine.
    pub(crate) file: PathBuf,
    /// Where it is run; the directory is there, and what lies in it besides sources.
    pub(crate) directory: PathBuf,
    /// Seconds it may take.
    pub(crate) limit: u64,
    /// Its arguments; no blanks inside of one.
    pub(crate) arguments: Vec<String>,
}

/// Writes the archive for these programs, with these kernel modules and what they depend on.
///
/// # Errors
/// When something is missing or cannot be written.
pub(crate) fn write(archive: &Path, parts: &Parts, modules: &[&str], programs: &[Program]) -> Result<()> {
    let tree = Tree::new(archive.with_extension("tree"))?;
    tree.add(&parts.busybox, Path::new("/bin/busybox"))?;
    tree.text("/init", INIT)?;
    for (number, module) in in_loading_order(&parts.modules, modules)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        tree.add(module, &Path::new("/modules").join(format!("{number:02}-{name}")))?;
    }
    let mut list = String::new();
    for program in programs {
        tree.add(&program.file, &Path::new("/tests").join(&program.name))?;
        for library in libraries(&program.file)? {
            tree.add(&library, &library)?;
        }
        tree.data(&program.directory)?;
        let (name, directory) = (&program.name, program.directory.display());
        list.push_str(&format!("{name} {} {directory} {}\n", program.limit, program.arguments.join(" ")));
    }
    tree.text("/tests/list", &list)?;
    tree.archive(&parts.busybox, archive)
}

/// A directory that becomes the archive and goes when it is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(dir: PathBuf) -> Result<Self> {
        let _ = fs::remove_dir_all(&dir); // of a run that was killed
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// The place of a path of the machine in this directory.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let below: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let place = self.0.join(below);
        let parent = place.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        Ok(place)
    }

    fn add(&self, from: &Path, to: &Path) -> Result<()> {
        fs::copy(from, self.place(to)?).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    fn text(&self, path: &str, text: &str) -> Result<()> {
        let place = self.place(Path::new(path))?;
        fs::write(&place, text)
            .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", place.display()))
    }

    /// The directory a test runs in: its `tests` folder may hold what the tests read.
    fn data(&self, directory: &Path) -> Result<()> {
        self.place(&directory.join("x"))?;
        let mut left = vec![directory.join("tests")];
        while let Some(dir) = left.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_none_or(|extension| extension != "rs") {
                    self.add(&path, &path)?;
                }
            }
        }
        Ok(())
    }

    fn archive(&self, busybox: &Path, archive: &Path) -> Result<()> {
        let names = run::output(Command::new("find").arg(".").current_dir(&self.0))?;
        let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
        let mut cpio = Command::new(busybox)
            .args(["cpio", "-o", "-H", "newc"])
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start busybox cpio")?;
        let written = cpio.stdin.take().context("cpio has no input")?.write_all((names + "\n").as_bytes());
        let status = cpio.wait().context("cannot wait for cpio")?;
        written.context("cannot name the files to cpio")?;
        if !status.success() {
            bail!("cpio cannot write {} ({status})", archive.display());
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The shared libraries a program is linked with, and its loader.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = run::output(Command::new("ldd").arg(program))?;
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} misses a library: {}", program.display(), missing.trim());
    }
    Ok(libraries_in(&text))
}

/// `name => /path (address)`, or `/path (address)` for the loader.
fn libraries_in(ldd: &str) -> BTreeSet<PathBuf> {
    let words = ldd.lines().flat_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

/// The files of these modules and all they need, each after what it needs.
fn in_loading_order(dir: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let text = run::output(Command::new("find").arg(dir).args(["-name", "*.ko"]))?;
    let files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    let mut ordered = Vec::new();
    for module in wanted {
        add_module(&files, module, &mut ordered)?;
    }
    Ok(ordered)
}

fn add_module(files: &[PathBuf], module: &str, ordered: &mut Vec<PathBuf>) -> Result<()> {
    // A module's file may have hyphens where its name has underscores.
    let fits = |file: &&PathBuf| {
        file.file_stem().is_some_and(|stem| stem.to_string_lossy().replace('-', "_") == module)
    };
    let file =
        files.iter().find(fits).with_context(|| format!("the kernel's package has no module {module}"))?;
    if ordered.contains(file) {
        return Ok(());
    }
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    for needed in needed_modules(&bytes).with_context(|| format!("cannot read {}", file.display()))? {
        add_module(files, &needed, ordered)?;
    }
    ordered.push(file.clone());
    Ok(())
}

/// `depends=a,b` among the zero-terminated entries of `.modinfo`.
fn needed_modules(module: &[u8]) -> Result<Vec<String>> {
    let elf = object::File::parse(module)?;
    let section = elf.section_by_name(".modinfo").context("there is no .modinfo")?;
    let text = String::from_utf8_lossy(section.data()?).into_owned();
    let depends = text.split('\0').find_map(|entry| entry.strip_prefix("depends=")).unwrap_or_default();
    Ok(depends.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

#[cfg(test)]
mod tests {
    use object::{Architecture, BinaryFormat, Endianness, SectionKind, write::Object as Writer};

    use super::*;

    fn module(info: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = writer.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        writer.append_section_data(section, info, 1);
        writer.write().unwrap()
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/bridge.ko"), module(b"license=GPL\0depends=stp,llc\0")).unwrap();
        fs::write(dir.path().join("net/stp.ko"), module(b"depends=llc\0license=GPL\0")).unwrap();
        fs::write(dir.path().join("llc.ko"), module(b"depends=\0")).unwrap();
        let ordered = in_loading_order(dir.path(), &["bridge", "llc"]).unwrap();
        let names: Vec<_> = ordered.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["llc", "stp", "bridge"]);
        let error = in_loading_order(dir.path(), &["veth"]).unwrap_err().to_string();
        assert!(error.contains("no module veth"), "{error}");
    }

    #[test]
    fn libraries_and_loader_are_found() {
        let text = "\tlinux-vdso.so.1 (0x7ff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries_in(text), BTreeSet::from(expected));
        assert!(libraries_in("\tstatically linked\n").is_empty());
    }
}
