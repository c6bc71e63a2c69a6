//! Datetimes (SYN-9).

/// Characters of a datetime.
const DATETIME_BYTES_MAX: usize = 64;
/// Digits of a fraction of a second.
const FRACTION_DIGITS_MAX: usize = 20;

/// Whether this is a datetime in the common part of RFC 3339 and ISO 8601 (SYN-9): `T` and `Z` in
/// upper case, a time zone but not `-00:00`, a day that exists, not before the year 0.
pub fn is_datetime(text: &str) -> bool {
    text.len() <= DATETIME_BYTES_MAX && check(text.as_bytes()).is_some()
}

/// Consumes the text from the front; `None` as soon as something is wrong.
fn check(text: &[u8]) -> Option<()> {
    let (year, rest) = number::<4>(text)?;
    let (month, rest) = number::<2>(rest.strip_prefix(b"-")?)?;
    let (day, rest) = number::<2>(rest.strip_prefix(b"-")?)?;
    let (hour, rest) = number::<2>(rest.strip_prefix(b"T")?)?;
    let (minute, rest) = number::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = number::<2>(rest.strip_prefix(b":")?)?;
    let offset = offset_minutes(fraction(rest)?)?;

    let real = day >= 1 && day <= days(year, month)? && hour < 24 && minute < 60 && second < 60;
    // East of Greenwich the first hours of the year 0 are still in the year before.
    let minutes = u32::from(hour).wrapping_mul(60).wrapping_add(u32::from(minute));
    let before_year_0 = (year, month, day) == (0, 1, 1) && minutes < offset;
    (real && !before_year_0).then_some(())
}

/// Reads exactly `N` digits.
fn number<const N: usize>(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<N>()?;
    let mut value = 0_u16;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit & 0x0f))?;
        value = value.wrapping_mul(10).wrapping_add(digit);
    }
    Some((value, rest))
}

/// Reads `.` and 1 to 20 digits if they are there.
fn fraction(text: &[u8]) -> Option<&[u8]> {
    let Some(rest) = text.strip_prefix(b".") else { return Some(text) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=FRACTION_DIGITS_MAX).contains(&digits).then(|| rest.get(digits..))?
}

/// Reads the time zone up to the end; minutes east of Greenwich, 0 for west.
fn offset_minutes(text: &[u8]) -> Option<u32> {
    if text == b"Z" {
        return Some(0);
    }
    let (sign, rest) = text.split_first()?;
    let (hour, rest) = number::<2>(rest)?;
    let (minute, rest) = number::<2>(rest.strip_prefix(b":")?)?;
    if hour > 23 || minute > 59 || !rest.is_empty() {
        return None;
    }
    match sign {
        b'+' => Some(u32::from(hour).wrapping_mul(60).wrapping_add(u32::from(minute))),
        b'-' if (hour, minute) != (0, 0) => Some(0),
        _ => None,
    }
}

fn days(year: u16, month: u16) -> Option<u16> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}
