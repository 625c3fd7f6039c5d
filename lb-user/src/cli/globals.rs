//! The options in front of everything else, which choose the instance (decision 12). They come before
//! commands of either grammar, so they are cut off before either looks.

const GLOBAL: [&str; 3] = ["--instance", "--run-dir", "--bpffs"];

/// Cuts `words` behind the global options at its beginning.
#[must_use]
pub fn split_globals(words: &[String]) -> (&[String], &[String]) {
    let mut n = 0;
    while let Some(word) = words.get(n) {
        if GLOBAL.contains(&word.as_str()) {
            n += 2;
        } else if word.split_once('=').is_some_and(|(name, _)| GLOBAL.contains(&name)) {
            n += 1;
        } else {
            break;
        }
    }
    words.split_at(n.min(words.len()))
}

#[cfg(test)]
mod tests {
    use super::split_globals;

    fn split(line: &str) -> (String, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (globals, rest) = split_globals(&words);
        (globals.join(" "), rest.join(" "))
    }

    #[test]
    fn only_what_stands_in_front_is_cut_off() {
        let two = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("--instance a --run-dir=/x -Ln"), two("--instance a --run-dir=/x", "-Ln"));
        assert_eq!(split("-Ln --instance a"), two("", "-Ln --instance a"));
        assert_eq!(split("--bpffs"), two("--bpffs", ""));
        assert_eq!(split("--instances a"), two("", "--instances a"));
    }
}
