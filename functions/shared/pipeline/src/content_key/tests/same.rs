//! Everything that must never change a key.

use proptest::prelude::*;

use super::sketch::sketches;
use super::writing::written;
use super::yaml::Rolls;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn however_a_pipeline_is_written_its_keys_are_the_same(
        sketch in sketches(), seeds in prop::collection::vec(1..u64::MAX, 2),
    ) {
        let plain = written(&sketch, &mut Rolls::new(0));
        let keys = plain.keys();
        for seed in seeds {
            let other = written(&sketch, &mut Rolls::new(seed));
            prop_assert_eq!(&other.keys(), &keys, "\n{}\n{}\n{:?}", plain.text, other.text, other.given.vars);
        }
    }
}
