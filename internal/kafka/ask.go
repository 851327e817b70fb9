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

// Lag returns how many records of a topic a group has not committed yet.
func (c *Client) Lag(ctx context.Context, group, topic string) (int64, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return 0, err
	}
	partitions := make([]int, n)
	for i := range partitions {
		partitions[i] = i
	}
	ask, cancel := context.WithTimeout(ctx, c.c.Timeout)
	defer cancel()
	res, err := c.c.OffsetFetch(ask, &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return 0, fmt.Errorf("asking how far group %s is in %s: %w", group, topic, err)
	}
	lag := int64(0)
	for _, p := range res.Topics[topic] {
		first, end, err := c.Bounds(ctx, topic, p.Partition)
		if err != nil {
			return 0, err
		}
		lag += end - max(p.CommittedOffset, first)
	}
	return lag, nil
}
