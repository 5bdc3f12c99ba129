//! The eighty rounds of SHA-1 (FIPS 180-4, 6.1.2) as one text, for vectors of any width.
//!
//! Each lane of a vector is one stream. Whoever uses this names its operations on vectors:
//! `add`, `rol` (with a constant), `choose`, `parity`, `majority`, `schedule` (the exclusive or of four) and `constant`.

/// Takes one block of each lane into the state `$h`. `$w` holds the sixteen words of the blocks, one vector a word, and is used up.
// rustfmt moves the inner macros further to the right each time.
#[rustfmt::skip]
macro_rules! rounds {
    ($h:expr, $w:ident) => {{
        let (mut a, mut b, mut c, mut d, mut e) = ($h[0], $h[1], $h[2], $h[3], $h[4]);
        macro_rules! word {
            ($t:expr) => {{
                if $t >= 16 {
                    let mixed = schedule(
                        $w[($t + 13) & 15],
                        $w[($t + 8) & 15],
                        $w[($t + 2) & 15],
                        $w[$t & 15],
                    );
                    $w[$t & 15] = rol!(mixed, 1);
                }
                $w[$t & 15]
            }};
        }
        macro_rules! round {
            ($f:ident, $k:ident, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {{
                let word = add(word!($t), $k);
                let rest = add(add($e, word), $f($b, $c, $d));
                $e = add(rest, rol!($a, 5));
                $b = rol!($b, 30);
            }};
        }
        macro_rules! five {
            ($f:ident, $k:ident, $t:expr) => {
                round!($f, $k, $t, a b c d e);
                round!($f, $k, $t + 1, e a b c d);
                round!($f, $k, $t + 2, d e a b c);
                round!($f, $k, $t + 3, c d e a b);
                round!($f, $k, $t + 4, b c d e a);
            };
        }
        macro_rules! twenty {
            ($f:ident, $k:expr, $t:expr) => {
                let k = constant($k);
                five!($f, k, $t);
                five!($f, k, $t + 5);
                five!($f, k, $t + 10);
                five!($f, k, $t + 15);
            };
        }
        twenty!(choose, 0x5a82_7999, 0);
        twenty!(parity, 0x6ed9_eba1, 20);
        twenty!(majority, 0x8f1b_bcdc_u32.cast_signed(), 40);
        twenty!(parity, 0xca62_c1d6_u32.cast_signed(), 60);
        $h[0] = add($h[0], a);
        $h[1] = add($h[1], b);
        $h[2] = add($h[2], c);
        $h[3] = add($h[3], d);
        $h[4] = add($h[4], e);
    }};
}

pub(super) use rounds;
