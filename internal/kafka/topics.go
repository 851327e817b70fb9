package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"fengsui/schemas"
)

// maxMessageBytes lets the largest record through with what surrounds it.
const maxMessageBytes = MaxRecordBytes + 1<<20

// segmentBytes is the size of a topic's segments. Only whole segments are deleted,
// so a bound on the disk is kept to within one of them; and the embedded broker
// holds one of each partition in memory when it starts.
func segmentBytes(retention int64) int64 {
	const least, most = 8 << 20, 1 << 30
	return min(max(retention/32, least), most)
}

// topicConfig is a topic's configuration in Kafka's words.
func topicConfig(t schemas.Topic) map[string]string {
	c := map[string]string{
		"max.message.bytes": strconv.Itoa(maxMessageBytes),
		"segment.bytes":     strconv.FormatInt(segmentBytes(t.RetentionBytes), 10),
		// Without this a record that comes with an old time takes its batch
		// with it as soon as it is written.
		"message.timestamp.type": "CreateTime",
	}
	if t.Compact {
		c["cleanup.policy"] = "compact"
		c["retention.ms"] = "-1"
		c["retention.bytes"] = "-1"
		return c
	}
	c["cleanup.policy"] = "delete"
	c["retention.ms"], c["retention.bytes"] = "-1", "-1"
	if t.Retention > 0 {
		c["retention.ms"] = strconv.FormatInt(t.Retention.Milliseconds(), 10)
	}
	if t.RetentionBytes > 0 {
		c["retention.bytes"] = strconv.FormatInt(t.RetentionBytes, 10)
	}
	return c
}

// EnsureTopics creates the topics that are missing and sets the configuration of
// those that differ. It waits, retrying, until Kafka has answered or ctx ends.
// It never deletes a topic, and never changes how many partitions one has: that
// would move keys.
func EnsureTopics(ctx context.Context, cfg Config, topics []schemas.Topic, replication int) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	var b backoff
	for {
		err := ensureTopics(ctx, c, topics, replication)
		if err == nil || permanent(err) {
			return err
		}
		if b.wait(ctx) != nil {
			return fmt.Errorf("making the topics: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

func ensureTopics(ctx context.Context, c *client, topics []schemas.Topic, replication int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req := &kafkago.CreateTopicsRequest{}
	for _, t := range topics {
		tc := kafkago.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: replication}
		for k, v := range topicConfig(t) {
			tc.ConfigEntries = append(tc.ConfigEntries, kafkago.ConfigEntry{ConfigName: k, ConfigValue: v})
		}
		req.Topics = append(req.Topics, tc)
	}
	res, err := c.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("creating the topics: %w", err)
	}
	var existing []schemas.Topic
	for _, t := range topics {
		switch err := res.Errors[t.Name]; {
		case err == nil:
		case errors.Is(err, kafkago.TopicAlreadyExists):
			existing = append(existing, t)
		default:
			return fmt.Errorf("creating topic %s: %w", t.Name, err)
		}
	}
	return alterTopics(ctx, c, existing)
}

// alterTopics sets what differs in the configuration of topics that exist.
func alterTopics(ctx context.Context, c *client, topics []schemas.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	ask := &kafkago.DescribeConfigsRequest{}
	for _, t := range topics {
		r := kafkago.DescribeConfigRequestResource{ResourceType: kafkago.ResourceTypeTopic, ResourceName: t.Name}
		for k := range topicConfig(t) {
			r.ConfigNames = append(r.ConfigNames, k)
		}
		ask.Resources = append(ask.Resources, r)
	}
	res, err := c.DescribeConfigs(ctx, ask)
	if err != nil {
		return fmt.Errorf("asking for the topics' configuration: %w", err)
	}
	have := make(map[string]map[string]string)
	for _, r := range res.Resources {
		if r.Error != nil {
			return fmt.Errorf("asking for the configuration of topic %s: %w", r.ResourceName, r.Error)
		}
		m := make(map[string]string)
		for _, e := range r.ConfigEntries {
			m[e.ConfigName] = e.ConfigValue
		}
		have[r.ResourceName] = m
	}
	alter := &kafkago.IncrementalAlterConfigsRequest{}
	for _, t := range topics {
		r := kafkago.IncrementalAlterConfigsRequestResource{ResourceType: kafkago.ResourceTypeTopic, ResourceName: t.Name}
		for k, v := range topicConfig(t) {
			if have[t.Name][k] != v {
				r.Configs = append(r.Configs, kafkago.IncrementalAlterConfigsRequestConfig{
					Name: k, Value: v, ConfigOperation: kafkago.ConfigOperationSet,
				})
			}
		}
		if len(r.Configs) > 0 {
			alter.Resources = append(alter.Resources, r)
		}
	}
	if len(alter.Resources) == 0 {
		return nil
	}
	altered, err := c.IncrementalAlterConfigs(ctx, alter)
	if err != nil {
		return fmt.Errorf("changing the topics' configuration: %w", err)
	}
	for _, r := range altered.Resources {
		if r.Error != nil {
			return fmt.Errorf("changing the configuration of topic %s: %w", r.ResourceName, r.Error)
		}
	}
	return nil
}

// permanent says that asking again cannot help.
func permanent(err error) bool {
	for _, e := range []kafkago.Error{
		kafkago.MessageSizeTooLarge, kafkago.InvalidTopic, kafkago.InvalidPartitionNumber,
		kafkago.InvalidConfiguration, kafkago.InvalidRequest, kafkago.PolicyViolation,
		kafkago.TopicAuthorizationFailed, kafkago.ClusterAuthorizationFailed, kafkago.SASLAuthenticationFailed,
		kafkago.UnsupportedForMessageFormat,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
