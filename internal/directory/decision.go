package directory

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"fengsui/schemas"
)

// maxNote bounds the note of a decision, in bytes.
const maxNote = 4096

func checkDecision(d *schemas.DriftDecision) error {
	if d.Drift == "" || len(d.Drift) > 64 {
		return errors.New("a decision about no drift")
	}
	switch d.State {
	case schemas.WorkAcknowledged, schemas.WorkFixed, schemas.WorkAccepted, schemas.WorkRequested:
	default:
		return fmt.Errorf("decision about drift %s: %q is no state", d.Drift, d.State)
	}
	if len(d.Note) > maxNote {
		return fmt.Errorf("decision about drift %s: its note is longer than %d bytes", d.Drift, maxNote)
	}
	return nil
}

// decide is the decisions after some records changed.
func decide(before map[string]*schemas.DriftDecision, changed map[string]schemas.RegistryRecord) map[string]*schemas.DriftDecision {
	if len(changed) == 0 {
		return before
	}
	after := maps.Clone(before)
	if after == nil {
		after = map[string]*schemas.DriftDecision{}
	}
	for key, r := range changed {
		if r.Decision == nil {
			delete(after, strings.TrimPrefix(key, "decision/"))
			continue
		}
		d := *r.Decision
		after[d.Drift] = &d
	}
	return after
}

// Decision is the newest decision about a drift.
func (s *Snapshot) Decision(drift string) (schemas.DriftDecision, bool) {
	d := s.decisions[drift]
	if d == nil {
		return schemas.DriftDecision{}, false
	}
	return *d, true
}
