package analyzer

import (
	"context"
	"time"

	"fengsui/schemas"
)

// domainHistory is how far back the stored events tell which domains are known,
// and domainTimeout how long the question may take. Without an answer all are
// learned anew: for a time nothing is new.
const (
	domainHistory = 30 * 24 * time.Hour
	domainTimeout = time.Minute
)

// learnDomains asks the stored events for the domains that were met.
func (a *Analyzer) learnDomains(ctx context.Context) {
	ask, cancel := context.WithTimeout(ctx, domainTimeout)
	defer cancel()
	err := a.deps.Store.Domains(ask, time.Now().Add(-domainHistory), a.cfg.NewDomains.MaxNames, a.domains.Seed)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("which domains are known is learned anew", "error", err)
	}
}

// firstMet says of a DNS event that its registered domain is new, and since when.
func (a *Analyzer) firstMet(ev *schemas.Event) {
	name := ev.Str(schemas.FieldDNSQuestionRegisteredDomain)
	if name == "" {
		return
	}
	if first, isNew := a.domains.Note(name, ev.Received); isNew {
		ev.SetTime(schemas.FieldFengsuiDomainFirstMet, first)
	}
}
