package client

import "context"

// NodeSeen is what a node said of its programs in its last heartbeat.
type NodeSeen struct {
	Node     string            `json:"node"`
	Versions map[string]string `json:"versions"`
	AgeMS    int64             `json:"age_ms"` // how long ago that was
}

// Nodes lists the nodes that the brain has heard since its start, by name.
func (c *Client) Nodes(ctx context.Context) ([]NodeSeen, error) {
	var list struct {
		Nodes []NodeSeen `json:"nodes"`
	}
	err := c.get(ctx, "/node", nil, &list)
	return list.Nodes, err
}
