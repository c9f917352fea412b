//! Conditions and updates as DynamoDB's expressions. Every attribute goes by a placeholder (`#name`), so that no reserved
//! word has to be known, and every value by a numbered one.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue as SdkValue;

use crate::table::{Action, AttributeValue, Condition, Update};

/// The parts of a request that carry expressions. DynamoDB refuses an empty map and a placeholder that is not used.
#[derive(Debug, Default)]
pub(super) struct Expression {
    pub(super) update: Option<String>,
    pub(super) condition: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, SdkValue>,
}

impl Expression {
    pub(super) fn condition(condition: Option<&Condition>) -> Self {
        let mut expression = Expression::default();
        expression.condition = condition.map(|condition| expression.render(condition));
        expression
    }

    pub(super) fn update(update: &Update) -> Self {
        let mut expression = Self::condition(update.condition.as_ref());
        let mut clauses: [(&str, Vec<String>); 4] =
            [("SET", Vec::new()), ("REMOVE", Vec::new()), ("ADD", Vec::new()), ("DELETE", Vec::new())];
        for (name, action) in &update.actions {
            let (verb, clause) = expression.clause(name, action);
            clauses.iter_mut().filter(|(of, _)| *of == verb).for_each(|(_, list)| list.push(clause.clone()));
        }
        let parts = clauses.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts.map(|(verb, list)| format!("{verb} {}", list.join(", "))).collect();
        expression.update = Some(parts.join(" "));
        expression
    }

    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    pub(super) fn values(&self) -> Option<HashMap<String, SdkValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.into());
        placeholder
    }

    fn clause(&mut self, name: &str, action: &Action) -> (&'static str, String) {
        let name = self.name(name);
        match action {
            Action::Set(value) => ("SET", format!("{name} = {}", self.value(value.clone()))),
            Action::SetIfMissing(value) => {
                ("SET", format!("{name} = if_not_exists({name}, {})", self.value(value.clone())))
            }
            Action::Remove => ("REMOVE", name),
            Action::Add(by) => ("ADD", format!("{name} {}", self.value(AttributeValue::N(by.to_string())))),
            Action::Insert(number) => {
                ("ADD", format!("{name} {}", self.value(AttributeValue::Ns(vec![number.to_string()]))))
            }
            Action::Discard(number) => {
                ("DELETE", format!("{name} {}", self.value(AttributeValue::Ns(vec![number.to_string()]))))
            }
        }
    }

    fn render(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Exists(name) => format!("attribute_exists({})", self.name(name)),
            Condition::Missing(name) => format!("attribute_not_exists({})", self.name(name)),
            Condition::Equals(name, value) => format!("{} = {}", self.name(name), self.value(value.clone())),
            Condition::AtLeast(name, least) => self.compare(name, ">=", *least),
            Condition::AtMost(name, most) => self.compare(name, "<=", *most),
            Condition::All(all) => self.joined(all, " AND "),
            Condition::Any(any) => self.joined(any, " OR "),
            // DynamoDB refuses redundant parentheses.
            Condition::Not(one) => match self.render(one) {
                group if group.starts_with('(') => format!("NOT {group}"),
                one => format!("NOT ({one})"),
            },
        }
    }

    fn compare(&mut self, name: &str, operator: &str, number: i64) -> String {
        format!("{} {operator} {}", self.name(name), self.value(AttributeValue::N(number.to_string())))
    }

    fn joined(&mut self, conditions: &[Condition], operator: &str) -> String {
        let parts: Vec<String> = conditions.iter().map(|one| self.render(one)).collect();
        format!("({})", parts.join(operator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_what_it_uses_and_nothing_else() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = Update::new()
            .set("state", text("done"))
            .set_if_missing("since", AttributeValue::N("1".to_owned()))
            .remove("failure")
            .add("calls", 2)
            .then("open", Action::Insert(7))
            .then("open", Action::Discard(8))
            .only_if(
                Condition::exists()
                    .and(Condition::Missing("state").or(Condition::Equals("state", text("running"))))
                    .and(Condition::Equals("state", text("done")).negated())
                    .and(Condition::AtLeast("remaining", 5))
                    .and(Condition::AtMost("at", 6)),
            );
        let expression = Expression::update(&update);
        assert_eq!(
            expression.update.as_deref(),
            Some(
                "SET #state = :v4, #since = if_not_exists(#since, :v5) REMOVE #failure ADD #calls :v6, #open :v7 DELETE #open :v8"
            )
        );
        assert_eq!(
            expression.condition.as_deref(),
            Some(
                "(attribute_exists(#pk) AND (attribute_not_exists(#state) OR #state = :v0) AND NOT (#state = :v1) AND #remaining >= :v2 AND #at <= :v3)"
            )
        );
        let mut names: Vec<String> = expression.names().unwrap().into_values().collect();
        names.sort();
        assert_eq!(names, ["at", "calls", "failure", "open", "pk", "remaining", "since", "state"]);
        assert_eq!(expression.values().unwrap().len(), 9);
        let either = Condition::exists().or(Condition::AtMost("at", 6)).negated();
        let expression = Expression::condition(Some(&either));
        assert_eq!(expression.condition.as_deref(), Some("NOT (attribute_exists(#pk) OR #at <= :v0)"));
        assert_eq!(Expression::condition(None).names(), None);
        assert_eq!(Expression::condition(None).values(), None);
    }
}
