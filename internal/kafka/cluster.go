package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// ClusterID returns the name that the brokers have for their cluster; "" when
// they have none.
func (c *Client) ClusterID(ctx context.Context) (id string, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		m, err := c.c.Metadata(ctx, &kafkago.MetadataRequest{})
		if err != nil {
			return fmt.Errorf("asking for the cluster's id: %w", err)
		}
		id = m.ClusterID
		return nil
	})
	return id, err
}
