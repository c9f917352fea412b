//! Conditions and updates of an item, as values: rendered for DynamoDB, interpreted in memory.

use super::{AttributeValue, PK};

/// A condition on an item. A comparison with an attribute that does not exist is false.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Exists(&'static str),
    Missing(&'static str),
    Equals(&'static str, AttributeValue),
    AtLeast(&'static str, i64),
    AtMost(&'static str, i64),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    /// The item exists.
    pub fn exists() -> Self {
        Condition::Exists(PK)
    }

    /// The item does not exist.
    pub fn missing() -> Self {
        Condition::Missing(PK)
    }

    /// The attribute is as it was read, which may be absent.
    pub fn unchanged(name: &'static str, value: Option<&AttributeValue>) -> Self {
        value.map_or(Condition::Missing(name), |value| Condition::Equals(name, value.clone()))
    }

    pub fn and(self, other: Condition) -> Self {
        match self {
            Condition::All(mut all) => {
                all.push(other);
                Condition::All(all)
            }
            one => Condition::All(vec![one, other]),
        }
    }

    pub fn or(self, other: Condition) -> Self {
        Condition::Any(vec![self, other])
    }

    pub fn negated(self) -> Self {
        Condition::Not(Box::new(self))
    }
}

/// What an update does to one attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Set(AttributeValue),
    SetIfMissing(AttributeValue),
    Remove,
    /// Adds to a number, from 0 where it is missing.
    Add(i64),
    /// Adds a number to a set of numbers.
    Insert(u32),
    /// Removes a number from a set of numbers.
    Discard(u32),
}

/// An update of one item under a condition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    pub actions: Vec<(String, Action)>,
    pub condition: Option<Condition>,
}

impl Update {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action on an attribute.
    pub fn then(mut self, name: impl Into<String>, action: Action) -> Self {
        self.actions.push((name.into(), action));
        self
    }

    pub fn set(self, name: impl Into<String>, value: AttributeValue) -> Self {
        self.then(name, Action::Set(value))
    }

    pub fn set_if_missing(self, name: &str, value: AttributeValue) -> Self {
        self.then(name, Action::SetIfMissing(value))
    }

    /// Sets an attribute, or removes it where there is no value.
    pub fn set_or_remove(self, name: &str, value: Option<AttributeValue>) -> Self {
        self.then(name, value.map_or(Action::Remove, Action::Set))
    }

    pub fn remove(self, name: &str) -> Self {
        self.then(name, Action::Remove)
    }

    pub fn add(self, name: &str, by: i64) -> Self {
        self.then(name, Action::Add(by))
    }

    /// Sets the condition.
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }
}
