//! The places where any server may see a header parameter.
//!
//! Servers split headers in different ways: some take a backslash in quotes for an escape and some do not, some split
//! at every `;`, also within quotes, some allow white space around `=`, and some search for the parameter as a
//! substring. All of these readings have in common the name of the parameter with a `=` after it.

/// A place at which some parser may see the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The text before the name.
    pub(super) before: &'a [u8],
    /// Whether the `=` follows the name directly.
    pub(super) is_plain: bool,
    /// Whether the name has a star, as in RFC 2231 (`name*`, `name*0`).
    pub(super) is_starred: bool,
    /// The text after the `=`.
    pub(super) after: &'a [u8],
}

/// An iterator over the places of a parameter in a header value.
pub(super) struct Places<'a> {
    value: &'a [u8],
    name: &'static [u8],
    from: usize,
}

impl<'a> Places<'a> {
    /// Returns the places of the parameter with this name, in lower case.
    pub(super) fn of(name: &'static [u8], value: &'a [u8]) -> Self {
        Self { value, name, from: 0 }
    }

    /// Returns the place where the name begins at this offset, if a `=` follows it.
    fn at(&self, start: usize) -> Option<Place<'a>> {
        let (before, rest) = self.value.split_at_checked(start)?;
        let (name, rest) = rest.split_at_checked(self.name.len())?;
        if !name.eq_ignore_ascii_case(self.name) {
            return None;
        }
        let odd = |b: &u8| b" \t\"*0123456789".contains(b);
        let between = rest.iter().take_while(|b| odd(b)).count();
        let (between, rest) = rest.split_at_checked(between)?;
        let after = rest.strip_prefix(b"=")?;
        Some(Place { before, is_plain: between.is_empty(), is_starred: between.contains(&b'*'), after })
    }
}

impl<'a> Iterator for Places<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        let starts = self.from..self.value.len();
        let (start, place) = starts.into_iter().find_map(|start| Some((start, self.at(start)?)))?;
        self.from = start + self.name.len();
        Some(place)
    }
}

impl<'a> Place<'a> {
    /// Returns true if the name is not the end of another one, for parsers that compare whole names.
    pub(super) fn is_whole_name(&self) -> bool {
        !self.before.last().is_some_and(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
    }

    /// Returns the values that the parameter has for any parser; quotes and white space may still be around them.
    pub(super) fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let value = self.after.trim_ascii_start();
        let quoted = value.strip_prefix(b"\"");
        let up_to = |end: Option<usize>| value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        let inner = |end: Option<usize>| quoted.and_then(|text| text.get(..end.unwrap_or(text.len())));
        let first_quote = quoted.and_then(|text| text.iter().position(|&b| b == b'"'));
        let bare_end = value.iter().position(|b| b" \t,;".contains(b)).filter(|_| quoted.is_none());
        [
            Some(up_to(value.iter().position(|&b| b == b';'))),
            Some(up_to(bare_end)),
            inner(first_quote),
            inner(quoted.and_then(closing_quote)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Returns the offset of the first quote that is not escaped by a backslash.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(value: &'static str) -> Vec<Vec<&'static str>> {
        let text = |value: &'static [u8]| str::from_utf8(value).unwrap_or_default();
        Places::of(b"name", value.as_bytes()).map(|place| place.values().map(text).collect()).collect()
    }

    #[test]
    fn a_parameter_is_seen_wherever_some_reader_sees_it() {
        for (value, places) in [
            ("", 0),
            ("name", 0),
            ("namex=a", 0),
            ("; name=a", 1),
            ("; NAME \t= a; x=\"name=b\"", 2),
            ("; \"name\"=a", 1),
            ("; name*0*=a", 1),
            ("; filename=a", 1),
            ("; namename=a", 1),
        ] {
            assert_eq!(Places::of(b"name", value.as_bytes()).count(), places, "{value}");
        }
        let whole = |value: &'static str| Places::of(b"name", value.as_bytes()).filter(Place::is_whole_name).count();
        assert_eq!([whole("; filename=a"), whole("; my-name=a"), whole("\"name=a"), whole("name=a")], [0, 0, 1, 1]);
    }

    #[test]
    fn its_values_are_those_of_every_reader() {
        assert_eq!(values("; name=a b;c"), [["a b", "a"]]);
        assert_eq!(values("; name=\"a\\\"b;c\"; d"), [vec!["\"a\\\"b", "\"a\\\"b;c\"; d", "a\\", "a\\\"b;c"]]);
        assert_eq!(values("; name=\"a"), [["\"a", "\"a", "a", "a"]]);
    }
}
