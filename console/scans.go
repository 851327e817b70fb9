package console

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/schemas"
)

// ScanStops writes to the topic scan.state that scans are stopped, or that they
// are not any more.
type ScanStops func(ctx context.Context, key string, s *schemas.ScanState) error

// stopPatience is how long Kafka may take to take a stop.
const stopPatience = 10 * time.Second

type stopInput struct {
	Body struct {
		Job    string `json:"job" minLength:"1" maxLength:"256" doc:"the job, or * for every job there is or will be" example:"*"`
		Reason string `json:"reason,omitempty" maxLength:"1024"`
	}
}

type stopOutput struct{ Body schemas.ScanStop }

type resumeInput struct {
	Job string `query:"job" required:"true" minLength:"1" maxLength:"256" doc:"as it was stopped" example:"*"`
}

func (c *Console) registerScans() {
	huma.Register(c.api, operation(http.MethodPost, "scan-stops", "Stop a scan job, or all scanning: no scanner sends anything two seconds later", forAdmins), c.postScanStop)
	huma.Register(c.api, operation(http.MethodDelete, "scan-stops", "Go on with what was stopped", forAdmins), c.deleteScanStop)
}

func (c *Console) postScanStop(ctx context.Context, in *stopInput) (*stopOutput, error) {
	stop := schemas.ScanStop{Job: in.Body.Job, By: viewerOf(ctx).Name, Reason: in.Body.Reason, Time: time.Now().UTC()}
	state := schemas.ScanState{Stop: &stop}
	if err := c.sayScanState(ctx, state.Key(), &state); err != nil {
		return nil, err
	}
	return &stopOutput{stop}, nil
}

func (c *Console) deleteScanStop(ctx context.Context, in *resumeInput) (*struct{}, error) {
	return nil, c.sayScanState(ctx, (&schemas.ScanState{Stop: &schemas.ScanStop{Job: in.Job}}).Key(), nil)
}

// sayScanState is for who sees everything: a job may be of any unit.
func (c *Console) sayScanState(ctx context.Context, key string, s *schemas.ScanState) error {
	v := viewerOf(ctx)
	if err := v.mayAll(); err != nil {
		return problem(http.StatusForbidden, codeForbidden, err.Error())
	}
	if c.deps.ScanStops == nil {
		return problem(http.StatusServiceUnavailable, codeScanners, "this console has no way to the scanners")
	}
	saying, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if err := c.deps.ScanStops(saying, key, s); err != nil {
		return c.internal("telling the scanners", err)
	}
	c.deps.Log.Warn("scans are stopped or resumed", "what", key, "stopped", s != nil, "by", v.Name)
	return nil
}
