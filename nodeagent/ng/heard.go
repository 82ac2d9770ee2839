package ng

import (
	"context"
	"errors"
	"time"
)

// Heard returns when the last packet, RTP or RTCP, came from the side of a call with that tag; the zero time when rtpengine knows no such side.
// held: that side has said that it sends or takes no media for now, so that silence means nothing.
func (c *Client) Heard(ctx context.Context, callID, tag string) (last time.Time, held bool, err error) {
	answer, err := c.Call(ctx, "query", map[string]any{"call-id": callID})
	if errors.Is(err, ErrUnknownCall) {
		return last, false, nil
	}
	if err != nil {
		return last, false, err
	}
	tags, _ := answer["tags"].(map[string]any)
	side, _ := tags[tag].(map[string]any)
	medias, _ := side["medias"].([]any)
	for _, m := range medias {
		media, _ := m.(map[string]any)
		held = held || !has(media["flags"], "send") || !has(media["flags"], "recv")
		streams, _ := media["streams"].([]any)
		for _, s := range streams {
			stream, _ := s.(map[string]any)
			if sec, _ := stream["last packet"].(int64); sec > 0 && time.Unix(sec, 0).After(last) {
				last = time.Unix(sec, 0)
			}
		}
	}
	return last, held, nil
}

func has(flags any, name string) bool {
	list, _ := flags.([]any)
	for _, f := range list {
		if f == name {
			return true
		}
	}
	return false
}
