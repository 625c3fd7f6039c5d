//! The options, as iptables spells them.

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Table,
    Append,
    Insert,
    Replace,
    Delete,
    Check,
    Flush,
    List,
    Save,
    Policy,
    Source,
    Destination,
    Protocol,
    Interface,
    Jump,
    Match,
    SourcePort,
    DestinationPort,
    SourcePorts,
    DestinationPorts,
    EitherPorts,
    MacSource,
    SourceRange,
    DestinationRange,
    Comment,
    SetMark,
    SetXmark,
    OrMark,
    AndMark,
    XorMark,
    Ipv4,
    Ipv6,
    Wait,
    Counters,
    Restore,
    NoFlush,
    /// How a listing looks, which here is always the same.
    Look,
    Help,
    /// Understood, and not done.
    Refused(&'static str),
}

/// How many words belong to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    None,
    /// One, behind it or in the same word.
    One,
    /// One where the next word is a number.
    Number,
    /// A chain, which is PREROUTING anyhow.
    Chain,
    /// Two.
    Two,
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) long: &'static [&'static str],
    pub(super) short: Option<char>,
    pub(super) values: Values,
    /// Whether `!` may stand in front.
    pub(super) negatable: bool,
    pub(super) word: Word,
}

impl Spec {
    /// As people know it.
    pub(super) fn name(&self) -> String {
        match (self.short, self.long.first()) {
            (Some(short), _) => format!("-{short}"),
            (None, Some(long)) => format!("--{long}"),
            (None, None) => String::new(),
        }
    }
}

const fn spec(long: &'static [&'static str], short: Option<char>, values: Values, word: Word) -> Spec {
    Spec { long, short, values, negatable: false, word }
}

const fn test(long: &'static [&'static str], short: Option<char>, word: Word) -> Spec {
    Spec { long, short, values: Values::One, negatable: true, word }
}

const STATE: Word = Word::Refused(
    "a mark is looked at only where a connection begins, so that the rule means the same without it",
);
const OTHER_CHAIN: Word = Word::Refused("PREROUTING is the one chain there is");

/// Every option that is known.
pub(super) const OPTIONS: [Spec; 50] = [
    spec(&["table"], Some('t'), Values::One, Word::Table),
    spec(&["append"], Some('A'), Values::Chain, Word::Append),
    spec(&["insert"], Some('I'), Values::Chain, Word::Insert),
    spec(&["replace"], Some('R'), Values::Chain, Word::Replace),
    spec(&["delete"], Some('D'), Values::Chain, Word::Delete),
    spec(&["check"], Some('C'), Values::Chain, Word::Check),
    spec(&["flush"], Some('F'), Values::Chain, Word::Flush),
    spec(&["list"], Some('L'), Values::Chain, Word::List),
    spec(&["list-rules", "save"], Some('S'), Values::Chain, Word::Save),
    spec(&["policy"], Some('P'), Values::Two, Word::Policy),
    test(&["source", "src"], Some('s'), Word::Source),
    test(&["destination", "dst"], Some('d'), Word::Destination),
    test(&["protocol", "proto"], Some('p'), Word::Protocol),
    test(&["in-interface"], Some('i'), Word::Interface),
    spec(&["jump"], Some('j'), Values::One, Word::Jump),
    spec(&["match"], Some('m'), Values::One, Word::Match),
    test(&["sport", "source-port"], None, Word::SourcePort),
    test(&["dport", "destination-port"], None, Word::DestinationPort),
    test(&["sports", "source-ports"], None, Word::SourcePorts),
    test(&["dports", "destination-ports"], None, Word::DestinationPorts),
    test(&["ports", "port"], None, Word::EitherPorts),
    test(&["mac-source"], None, Word::MacSource),
    test(&["src-range"], None, Word::SourceRange),
    test(&["dst-range"], None, Word::DestinationRange),
    spec(&["comment"], None, Values::One, Word::Comment),
    spec(&["set-mark"], None, Values::One, Word::SetMark),
    spec(&["set-xmark"], None, Values::One, Word::SetXmark),
    spec(&["or-mark"], None, Values::One, Word::OrMark),
    spec(&["and-mark"], None, Values::One, Word::AndMark),
    spec(&["xor-mark"], None, Values::One, Word::XorMark),
    spec(&["ipv4"], Some('4'), Values::None, Word::Ipv4),
    spec(&["ipv6"], Some('6'), Values::None, Word::Ipv6),
    spec(&["wait"], Some('w'), Values::Number, Word::Wait),
    spec(&["wait-interval"], Some('W'), Values::Number, Word::Wait),
    spec(&["set-counters"], Some('c'), Values::Two, Word::Counters),
    spec(&["restore"], None, Values::None, Word::Restore),
    spec(&["noflush"], None, Values::None, Word::NoFlush),
    spec(&["numeric"], Some('n'), Values::None, Word::Look),
    spec(&["verbose"], Some('v'), Values::None, Word::Look),
    spec(&["exact"], Some('x'), Values::None, Word::Look),
    spec(&["line-numbers"], None, Values::None, Word::Look),
    spec(&["help"], Some('h'), Values::None, Word::Help),
    spec(&["state", "ctstate"], None, Values::One, STATE),
    spec(&["syn", "tcp-flags"], None, Values::None, STATE),
    spec(&["new-chain"], Some('N'), Values::None, OTHER_CHAIN),
    spec(&["delete-chain"], Some('X'), Values::None, OTHER_CHAIN),
    spec(&["rename-chain"], Some('E'), Values::None, OTHER_CHAIN),
    spec(&["goto"], Some('g'), Values::None, OTHER_CHAIN),
    spec(
        &["out-interface"],
        Some('o'),
        Values::None,
        Word::Refused("no packet has an interface to leave by yet in PREROUTING"),
    ),
    spec(&["zero"], Some('Z'), Values::None, Word::Refused("packets are not counted rule by rule")),
];

/// The option of a long name.
pub(super) fn long(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.long.contains(&name))
}

/// The option of a letter.
pub(super) fn short(letter: char) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.short == Some(letter))
}
