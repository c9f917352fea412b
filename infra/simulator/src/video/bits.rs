//! A bit string as H.264 writes it: fixed fields, Exp-Golomb numbers, alignment, and the escape that keeps a start code
//! from appearing inside of a unit (ITU-T H.264, clauses 7.3.1, 7.4.1 and 9.1).

/// Bits, the highest of each byte first.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// The byte under way and how many of its bits are set down.
    partial: u8,
    filled: u8,
}

impl Bits {
    /// The lowest `count` bits of a value: u(n).
    pub(super) fn u(&mut self, count: u32, value: u32) -> &mut Self {
        for at in (0..count).rev() {
            self.partial = (self.partial << 1) | ((value >> at) & 1) as u8;
            self.filled += 1;
            if self.filled == 8 {
                self.bytes.push(self.partial);
                (self.partial, self.filled) = (0, 0);
            }
        }
        self
    }

    /// An unsigned Exp-Golomb number: ue(v). The value stays below 2³¹.
    pub(super) fn ue(&mut self, value: u32) -> &mut Self {
        let code = value.saturating_add(1);
        let length = u32::BITS - code.leading_zeros();
        self.u(length - 1, 0).u(length, code)
    }

    /// The signed number 0, the only one in use: se(v).
    pub(super) fn se0(&mut self) -> &mut Self {
        self.u(1, 1)
    }

    /// Zeros up to the next whole byte.
    pub(super) fn align(&mut self) -> &mut Self {
        while self.filled != 0 {
            self.u(1, 0);
        }
        self
    }

    /// Whole bytes; the string has to be aligned.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        debug_assert_eq!(self.filled, 0);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Ends the payload with its stop bit and makes a unit of it: one header byte, then the payload, with a 3 put
    /// between two zeros and whatever would make a start code of them.
    pub(super) fn unit(mut self, header: u8) -> Vec<u8> {
        self.u(1, 1).align();
        let mut unit = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 64 + 8);
        unit.push(header);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exp_golomb() {
        for (value, expected) in [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (25, "000011010"), (30, "000011111")]
        {
            let mut bits = Bits::default();
            bits.ue(value);
            let mut written: String = bits.bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            written.extend((0..bits.filled).rev().map(|at| if bits.partial >> at & 1 == 1 { '1' } else { '0' }));
            assert_eq!(written, expected, "{value}");
        }
    }

    #[test]
    fn no_start_code_appears_inside() {
        let mut bits = Bits::default();
        bits.bytes(&[0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4]);
        let expected = [0x65, 0, 0, 3, 0, 0, 3, 0, 1, 0, 0, 3, 2, 0, 0, 3, 3, 0, 0, 4, 0x80];
        assert_eq!(bits.unit(0x65), expected);
    }
}
