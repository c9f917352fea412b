//! The basis of keys: the facts of RFC 8785 (JSON Canonicalization Scheme), held against the library that is trusted with
//! them. A release of it that breaks one would make every result unreachable.

use serde_json::{Value, json};

fn canonical(value: &Value) -> String {
    serde_json_canonicalizer::to_string(value).unwrap()
}

/// Appendix B: the bits of a double and its form. The table's NaN and infinities are in
/// [`what_is_no_number_has_no_form`].
const NUMBERS: &[(u64, &str)] = &[
    (0x0000_0000_0000_0000, "0"),
    (0x8000_0000_0000_0000, "0"),
    (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"),
    (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
    (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
    (0x4340_0000_0000_0000, "9007199254740992"),
    (0xc340_0000_0000_0000, "-9007199254740992"),
    (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
    (0x44b5_2d02_c7e1_4af6, "1e+23"),
    (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
    (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
    (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
    (0x444b_1ae4_d6e2_ef50, "1e+21"),
    (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
    (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x41b3_de43_5555_5553, "333333333.3333332"),
    (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5555, "333333333.3333333"),
    (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"),
    (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
    (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
];

#[test]
fn numbers_of_appendix_b() {
    for (bits, form) in NUMBERS {
        let number = f64::from_bits(*bits);
        assert_eq!(canonical(&json!(number)), *form, "{bits:016x}");
        // And as they come out of a document: the form is read, and has the same form again.
        let read: Value = serde_json::from_str(form).unwrap();
        assert_eq!(canonical(&read), *form, "{bits:016x}");
        let long: Value = serde_json::from_str(&format!("{number:.1100}")).unwrap();
        assert_eq!(canonical(&long), *form, "{bits:016x}, all its digits");
    }
}

#[test]
fn non_numbers_have_no_canonical_form() {
    for bits in [0x7fff_ffff_ffff_ffff_u64, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000] {
        let number = f64::from_bits(bits);
        assert!(serde_json_canonicalizer::to_vec(&number).is_err(), "{bits:016x}");
        // It does not get that far: JSON has no such value.
        assert_eq!(json!(number), Value::Null);
    }
}

/// Whole numbers and those with a point are one kind of number.
#[test]
fn a_number_has_one_form_however_it_is_written() {
    for (written, form) in [
        ("4", "4"),
        ("4.0", "4"),
        ("4e0", "4"),
        ("40E-1", "4"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("0.10", "0.1"),
        ("4294967295", "4294967295"),
        ("9007199254740991", "9007199254740991"),
    ] {
        assert_eq!(canonical(&serde_json::from_str(written).unwrap()), form, "{written}");
    }
}

/// Sections 3.2.2 and 3.2.4: the example, and its bytes.
#[test]
fn the_example_of_section_3_2_2() {
    let value: Value = serde_json::from_str(
        r#"{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#,
    )
    .unwrap();
    let form = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(canonical(&value), form);
    let bytes = serde_json_canonicalizer::to_vec(&value).unwrap();
    let string = bytes.windows(12).position(|bytes| bytes == b"\"string\":\"\xe2\x82").unwrap();
    assert_eq!(
        hex::encode(&bytes[string..]),
        "22737472696e67223a22e282ac245c75303030665c6e412742\
         5c225c5c5c5c5c222f227d"
    );
}

/// Section 3.2.2.2: two-letter escapes where JSON has them, lower-case hex for the other controls, everything else itself.
#[test]
fn escapes_of_strings() {
    for code in 0..0x20_u8 {
        let form = match code {
            0x08 => r"\b".to_owned(),
            0x09 => r"\t".to_owned(),
            0x0a => r"\n".to_owned(),
            0x0c => r"\f".to_owned(),
            0x0d => r"\r".to_owned(),
            _ => format!("\\u{code:04x}"),
        };
        assert_eq!(canonical(&json!(char::from(code).to_string())), format!("\"{form}\""));
    }
    assert_eq!(canonical(&json!("\"\\")), r#""\"\\""#);
    let itself = "/'\u{7f}\u{80}\u{f6}\u{2028}\u{2029}\u{20ac}\u{fb33}\u{fffd}\u{1f600}";
    assert_eq!(canonical(&json!(itself)), format!("\"{itself}\""));
    // It neither composes nor takes apart: that texts are in NFC is seen to before.
    assert_eq!(canonical(&json!("e\u{301}")), "\"e\u{301}\"");
}

/// Section 3.2.3: names are sorted by their UTF-16 code units, not by their characters.
#[test]
fn the_order_of_section_3_2_3() {
    let value = json!({
        "\u{20ac}": "Euro Sign",
        "\r": "Carriage Return",
        "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\u{1f600}": "Emoji: Grinning Face",
        "\u{80}": "Control",
        "\u{f6}": "Latin Small Letter O With Diaeresis",
    });
    let form = [
        ("\\r", "Carriage Return"),
        ("1", "One"),
        ("\u{80}", "Control"),
        ("\u{f6}", "Latin Small Letter O With Diaeresis"),
        ("\u{20ac}", "Euro Sign"),
        // As a character it is the last one; its first code unit is 0xd83d.
        ("\u{1f600}", "Emoji: Grinning Face"),
        ("\u{fb33}", "Hebrew Letter Dalet With Dagesh"),
    ];
    let form: Vec<String> = form.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    assert_eq!(canonical(&value), format!("{{{}}}", form.join(",")));
}

/// Section 3.2.3 too: objects within objects and lists are sorted, lists keep their order.
#[test]
fn order_goes_all_the_way_down() {
    let value: Value =
        serde_json::from_str(r#" {"b": [3, {"z": 1, "a": [2, 1]}, 1], "a": {"d": {}, "c": []}, "": 0} "#).unwrap();
    assert_eq!(canonical(&value), r#"{"":0,"a":{"c":[],"d":{}},"b":[3,{"a":[2,1],"z":1},1]}"#);
}
