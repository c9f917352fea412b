//! Money: how a hold ends. A hold ends once; what is learnt later corrects what was settled.

use fresco_pipeline::money::Money;

use crate::records::{Hold, HoldState};
use crate::traits::BudgetChange;

/// The attempt cost so much.
pub(super) fn settle(hold: &mut Hold, spent: Money) -> Option<BudgetChange> {
    let (held, delta) = match hold.state {
        HoldState::Held => (hold.amount, spent),
        HoldState::Settled(before) => (Money::ZERO, spent - before),
        HoldState::Released => (Money::ZERO, spent),
    };
    hold.state = HoldState::Settled(spent);
    change(hold, held, delta)
}

/// The attempt cost nothing.
pub(super) fn release(hold: &mut Hold) -> Option<BudgetChange> {
    if hold.state != HoldState::Held {
        return None;
    }
    hold.state = HoldState::Released;
    change(hold, hold.amount, Money::ZERO)
}

fn change(hold: &Hold, held: Money, spent: Money) -> Option<BudgetChange> {
    (held != Money::ZERO || spent != Money::ZERO).then(|| BudgetChange::Settle { run: hold.run.clone(), held, spent })
}
