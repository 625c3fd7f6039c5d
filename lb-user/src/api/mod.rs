//! The wire types of the control socket: one JSON value a line, a [`Request`] up, [`Response`]s down.
//!
//! A listing is answered by as many [`Response`] lines as it needs; every answer ends with a line
//! that is neither [`Response::Services`] nor [`Response::Connections`] ([`Response::is_last`]).

mod mark;
mod request;
mod response;

pub use self::mark::MarkChange;
pub use self::request::Request;
pub use self::response::{
    AnsweredElsewhere, ConnectionView, DestinationView, ErrorKind, InterfaceStatus, Neighbour, Rates,
    ReasonCount, Refusal, Response, ServiceView, Stats, Status,
};
