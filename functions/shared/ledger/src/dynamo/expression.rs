//! An update with its condition. Every attribute goes by a placeholder (`#name`), so that no reserved word has to be known;
//! the placeholders are found in the expressions, since DynamoDB refuses one that is declared and not used.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};

use super::item::text;
use super::{Item, PK, SK};

/// The update of one item. A value goes by its attribute's name: `:name`.
#[derive(Debug, Default)]
pub(super) struct Expression {
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    takes: Vec<String>,
    condition: Option<String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The condition, with placeholders.
    pub(super) fn only_if(mut self, condition: &str) -> Self {
        self.condition = Some(condition.to_owned());
        self
    }

    /// A value that the condition or [`Expression::assign`] names.
    pub(super) fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// Sets an attribute.
    pub(super) fn set(self, name: &str, value: AttributeValue) -> Self {
        self.assign(&format!("#{name} = :{name}")).with(name, value)
    }

    /// Sets an attribute unless it is there.
    pub(super) fn set_once(self, name: &str, value: AttributeValue) -> Self {
        self.assign(&format!("#{name} = if_not_exists(#{name}, :{name})")).with(name, value)
    }

    /// Sets an attribute, or removes it.
    pub(super) fn set_or_remove(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Adds an assignment, with placeholders.
    pub(super) fn assign(mut self, assignment: &str) -> Self {
        self.sets.push(assignment.to_owned());
        self
    }

    /// Removes an attribute.
    pub(super) fn remove(mut self, name: &str) -> Self {
        self.removes.push(format!("#{name}"));
        self
    }

    /// Adds to a number, from 0 where it is not there.
    pub(super) fn add(mut self, name: &str, value: AttributeValue) -> Self {
        self.adds.push(format!("#{name} :{name}"));
        self.with(name, value)
    }

    /// Takes elements out of a set.
    pub(super) fn take_out(mut self, name: &str, value: AttributeValue) -> Self {
        self.takes.push(format!("#{name} :{name}"));
        self.with(name, value)
    }

    pub(super) fn update(&self) -> String {
        let mut update = String::new();
        for (verb, clauses) in
            [("SET ", &self.sets), ("REMOVE ", &self.removes), ("ADD ", &self.adds), ("DELETE ", &self.takes)]
        {
            if !clauses.is_empty() {
                update.push_str(if update.is_empty() { "" } else { " " });
                update.push_str(verb);
                update.push_str(&clauses.join(", "));
            }
        }
        update
    }

    pub(super) fn condition(&self) -> Option<String> {
        self.condition.clone()
    }

    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        let mut names = HashMap::new();
        for expression in [Some(self.update()), self.condition()].into_iter().flatten() {
            for name in expression.split('#').skip(1) {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                names.insert(format!("#{}", &name[..end]), name[..end].to_owned());
            }
        }
        (!names.is_empty()).then_some(names)
    }

    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// As a part of a transaction.
    pub(super) fn in_transaction(&self, table: &str, pk: &str, sk: &str) -> UpdateBuilder {
        aws_sdk_dynamodb::types::Update::builder()
            .table_name(table)
            .key(PK, text(pk))
            .key(SK, text(sk))
            .update_expression(self.update())
            .set_condition_expression(self.condition())
            .set_expression_attribute_names(self.names())
            .set_expression_attribute_values(self.values())
    }

    /// The condition of a put that is part of a transaction.
    pub(super) fn guard(&self, table: &str, item: Item) -> PutBuilder {
        aws_sdk_dynamodb::types::Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(self.condition())
            .set_expression_attribute_names(self.names())
            .set_expression_attribute_values(self.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::item::number;

    #[test]
    fn names_are_those_that_are_used() {
        let expression = Expression::new()
            .set("state", text("done"))
            .set_once("since", number(1))
            .remove("failure")
            .only_if("attribute_exists(#pk) AND (#state <> :state OR #running_since = :since)");
        assert_eq!(expression.update(), "SET #state = :state, #since = if_not_exists(#since, :since) REMOVE #failure");
        let mut names: Vec<String> = expression.names().unwrap().into_values().collect();
        names.sort();
        assert_eq!(names, ["failure", "pk", "running_since", "since", "state"]);
        assert_eq!(Expression::new().names(), None);
    }
}
