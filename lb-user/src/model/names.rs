//! Serde by name for the enums of `lb-common`, which knows no serde.

/// [`lb_common::sched::Scheduler`] as the name that ipvsadm uses.
pub(crate) mod scheduler {
    use lb_common::sched::Scheduler;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &Scheduler, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(value.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Scheduler, D::Error> {
        let name = String::deserialize(d)?;
        Scheduler::from_name(&name).ok_or_else(|| de::Error::custom(format!("unknown scheduler `{name}`")))
    }
}

/// [`lb_common::fwd::ForwardingMethod`] as the word that ipvsadm lists.
pub(crate) mod method {
    use lb_common::fwd::ForwardingMethod;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &ForwardingMethod, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(value.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<ForwardingMethod, D::Error> {
        let name = String::deserialize(d)?;
        ForwardingMethod::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| de::Error::custom(format!("unknown forwarding method `{name}`")))
    }
}
