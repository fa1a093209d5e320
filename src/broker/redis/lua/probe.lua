-- probe: which library this is.
--
-- KEYS  none
-- Reply the format it writes, and the digest of its text.
-- Cost  O(1). Reads only.

register('probe', function() return { FORMAT, DIGEST } end, { 'no-writes' })
