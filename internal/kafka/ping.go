package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// Ping returns nil when a broker answers as who cfg says we are.
func Ping(ctx context.Context, cfg Config) error {
	c, err := NewClient(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, c.c.Timeout)
	defer cancel()
	if _, err := c.c.Metadata(ctx, &kafkago.MetadataRequest{}); err != nil {
		return fmt.Errorf("asking Kafka at %v: %w", cfg.Brokers, err)
	}
	return nil
}
