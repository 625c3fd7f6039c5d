//! The single owner of what is configured: [`Director::handle`] takes an event and says what to do.
//!
//! Pure: no sockets, no clock, no files. The maps are the one source of truth, so a director begins by
//! adopting what it finds in them ([`Event::Observed`]); what it reads of them later (counts, counters,
//! scheduler states) comes by [`Live`]. Called by `daemon` from one task.

mod adopt;
mod change;
mod check;
mod commit;
mod counters;
mod destinations;
mod effect;
mod event;
mod hops;
mod marks;
mod memory;
mod rates;
mod reload;
mod responders;
mod services;
mod settings;
mod state;
mod sysctl;
mod trash;
mod tunnels;
mod view;
mod warnings;

pub use self::effect::Effect;
pub use self::event::{Event, Link, Load, RequestId, TableLoad};
pub use self::memory::Memory;
pub use self::rates::Estimator;
pub use self::state::{Director, Live};
pub use self::view::Page;

#[cfg(test)]
mod tests;
