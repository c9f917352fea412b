//! The end of a hold. It ends once; later information corrects the settled amount.

use fresco_pipeline::money::Money;

use crate::records::{Hold, HoldState};
use crate::traits::BudgetChange;

/// Settles a hold at the attempt's cost.
pub(super) fn settle(hold: &mut Hold, spent: Money) -> Option<BudgetChange> {
    let (held, delta) = match hold.state {
        HoldState::Held => (hold.amount, spent),
        HoldState::Settled(before) => (Money::ZERO, spent - before),
        HoldState::Released => (Money::ZERO, spent),
    };
    hold.state = HoldState::Settled(spent);
    change(hold, held, delta)
}

/// Releases a hold, since the attempt cost nothing.
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
