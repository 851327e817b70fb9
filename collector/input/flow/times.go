package flow

import "math"

// times is when the flow began and ended, in nanoseconds since 1970; 0 is not
// known. A record that says one time only has it as its end.
func (r *record) times(m *message, dom *domain) (start, end int64) {
	end = r.moment(m, dom, nEndMillis, nEndSeconds, nEndMicros, nEndNanos, nEndDelta, nEndUptime)
	start = r.moment(m, dom, nStartMillis, nStartSeconds, nStartMicros, nStartNanos, nStartDelta, nStartUptime)
	if end == 0 && start == 0 && r.is(nStartUptime) && r.is(nEndUptime) {
		// Nobody said when the exporter began: only the length is known.
		end = m.export
		start = end - int64(uint32(r.n[nEndUptime])-uint32(r.n[nStartUptime]))*1e6 //nolint:gosec // modulo 2^32, as they are
	}
	if end == 0 && start == 0 {
		if end = r.moment(m, dom, nObservedMillis, nObservedSeconds, nObservedMicros, nObservedNanos, nums, nums); end == 0 {
			end = m.export
		}
	}
	if long := r.duration(); long > 0 {
		switch {
		case start == 0:
			start = end - long
		case end == 0:
			end = start + long
		}
	}
	if end == 0 {
		end = start
	}
	return start, end
}

func (r *record) duration() int64 {
	switch {
	case r.is(nDurationMillis) && r.n[nDurationMillis] < math.MaxUint32:
		return int64(r.n[nDurationMillis]) * 1e6 //nolint:gosec // checked
	case r.is(nDurationMicros) && r.n[nDurationMicros] < math.MaxUint32*1000:
		return int64(r.n[nDurationMicros]) * 1e3 //nolint:gosec // checked
	}
	return 0
}

// moment is a time that may be said in one of several ways; nums is none.
func (r *record) moment(m *message, dom *domain, millis, seconds, micros, nanos, delta, uptime num) int64 {
	switch {
	case r.is(millis) && r.n[millis] < math.MaxInt64/1_000_000:
		return int64(r.n[millis]) * 1e6 //nolint:gosec // checked
	case uptime != nums && r.is(uptime):
		return r.uptime(m, dom, uptime)
	case r.is(seconds) && r.n[seconds] <= math.MaxUint32:
		return int64(r.n[seconds]) * 1e9 //nolint:gosec // checked
	case r.is(micros):
		return (ntp(r.n[micros]) + 500) / 1000 * 1000 // its last bits say nothing
	case r.is(nanos):
		return ntp(r.n[nanos])
	case delta != nums && r.is(delta) && r.n[delta] <= math.MaxUint32:
		return m.export - int64(r.n[delta])*1e3 //nolint:gosec // checked
	}
	return 0
}

// uptime is the time of an uptime in milliseconds: as long before the export as
// the uptime then was more. Both overflow after 49.7 days, and a flow may end
// just after the header was written, so the difference is signed.
func (r *record) uptime(m *message, dom *domain, k num) int64 {
	now := m.uptime
	if m.version == ipfix {
		began := dom.initMillis
		if r.is(nInitMillis) {
			began = r.n[nInitMillis]
		}
		if began == 0 {
			return 0
		}
		now = uint32(uint64(m.export/1e6) - began) //nolint:gosec // modulo 2^32
	}
	ago := int32(now - uint32(r.n[k])) //nolint:gosec // modulo 2^32
	return m.export - int64(ago)*1e6
}

// ntp reads NTP's timestamp: seconds since 1900, modulo 2^32, and their fraction
// (RFC 7011, 6.1.9; RFC 5905, 6). The era that began in 2036 has the lower half.
func ntp(v uint64) int64 {
	seconds := int64(v>>32) - 2_208_988_800 //nolint:gosec // 32 bits
	if v>>63 == 0 {
		seconds += 1 << 32
	}
	return seconds*1e9 + int64((v&math.MaxUint32)*1e9>>32) //nolint:gosec // less than 1e9
}
