//! The orientation in the metadata of a JPEG: how the camera was held.
//! Source: Exif 2.32, 4.6.4, tag 274; for the segments ITU-T T.81, Annex B.

/// The orientation that the metadata of a JPEG states, from 1 (upright) to 8; `None` without one.
pub fn exif_orientation(head: &[u8]) -> Option<u16> {
    let mut at = 2;
    loop {
        let (&[0xff, marker], length) = (head.get(at..at + 2)?, be16(head, at + 2)?) else { return None };
        if marker == 0xda {
            return None;
        }
        let segment = head.get(at + 4..)?;
        if marker == 0xe1 && segment.starts_with(b"Exif\0\0") {
            return orientation_of(segment.get(6..usize::from(length).checked_sub(2)?.min(segment.len()))?);
        }
        at += 2 + usize::from(length);
    }
}

/// Reads the tag in the first directory of a TIFF structure.
fn orientation_of(tiff: &[u8]) -> Option<u16> {
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    let entries = usize::from(u16_at(directory)?);
    let entry = (0..entries).map(|entry| directory + 2 + 12 * entry).find(|&entry| u16_at(entry) == Some(274))?;
    u16_at(entry + 8).filter(|orientation| (1..=8).contains(orientation))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_orientation_is_read_in_both_byte_orders() {
        let with = |tiff: &[u8]| {
            let exif = [b"Exif\0\0", tiff].concat();
            let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
            [&b"\xff\xd8\xff\xe1"[..], &length, &exif, b"\xff\xda\0\x02"].concat()
        };
        let big = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        let little = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0";
        assert_eq!(exif_orientation(&with(big)), Some(6));
        assert_eq!(exif_orientation(&with(little)), Some(8));
        for other in [&b""[..], b"MM", b"XX\0\x2a\0\0\0\x08\0\x01", b"MM\0\x2a\xff\xff\xff\xff\0\x01"] {
            assert_eq!(exif_orientation(&with(other)), None, "{other:?}");
        }
        assert_eq!(exif_orientation(b"\xff\xd8\xff\xda\0\x02"), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_read_within_their_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for head in [&b"\xff\xd8\xff\xe1"[..], b"\xff\xd8\xff\xe1\0\x80Exif\0\0MM\0\x2a"] {
                if let Some(orientation) = exif_orientation(&[head, &bytes].concat()) {
                    prop_assert!((1..=8).contains(&orientation));
                }
            }
        }
    }
}
