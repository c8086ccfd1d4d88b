//! As much of HTTP/1.1 framing as the rig needs: heads with a Content-Length. Anything else is an error, never a guess.

use crate::Result;

/// Longest head; a peer that sends more is broken.
const MAX_HEAD: usize = 16 * 1024;

/// Where a message ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Bytes of the start line and headers, blank line included.
    pub(crate) head: usize,
    /// Bytes of head and body.
    pub(crate) whole: usize,
    /// The peer closes after this.
    pub(crate) close: bool,
}

/// The frame of the message at the start of `bytes`; `None` until its head is complete.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame>> {
    let Some(blank) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err("an HTTP head without end".into()) } else { Ok(None) };
    };
    let head = &bytes[..blank + 4];
    if header(head, "transfer-encoding").is_some() {
        return Err("a chunked message, which this rig does not read".into());
    }
    let body = match header(head, "content-length") {
        Some(value) => std::str::from_utf8(value)?.parse::<usize>()?,
        None => 0,
    };
    let close = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some(Frame { head: head.len(), whole: head.len() + body, close }))
}

/// The value of the first header of that name (lower case) in a head.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// The status code of a response.
pub(crate) fn status(head: &[u8]) -> Result<u16> {
    let code = head.get(9..12).ok_or("an HTTP response without a status")?;
    Ok(std::str::from_utf8(code)?.parse()?)
}
