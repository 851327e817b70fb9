//go:build !linux

package packet

import (
	"context"
	"errors"

	"fengsui/collector/input"
)

func (s *Sensor) runLive(context.Context, input.Sink) error {
	return errors.New("packet: reading from an interface needs Linux")
}
