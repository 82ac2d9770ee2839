package brain

import (
	"maps"
	"slices"
)

// Clone returns a deep copy of a resource, which its holder may change.
func Clone(r Resource) Resource {
	switch r := r.(type) {
	case *Account:
		c := *r
		if r.ParentID != nil {
			parent := *r.ParentID
			c.ParentID = &parent
		}
		return &c
	case *SIPDomain:
		c := *r
		return &c
	case *SIPUser:
		c := *r
		c.Skills = maps.Clone(r.Skills)
		return &c
	case *SIPDevice:
		c := *r
		return &c
	case *Extension:
		c := *r
		c.DestXform = maps.Clone(r.DestXform)
		return &c
	case *RingGroup:
		c := *r
		c.Members = slices.Clone(r.Members)
		return &c
	case *ConsoleUser:
		c := *r
		return &c
	case *RatePlan:
		c := *r
		return &c
	case *Node:
		c := *r
		c.SIPAddresses = slices.Clone(r.SIPAddresses)
		return &c
	case *APIKey:
		c := *r
		c.Scopes = slices.Clone(r.Scopes)
		return &c
	case *CallLimit:
		c := *r
		return &c
	}
	return cloneAnswered(r)
}

func cloneAnswered(r Resource) Resource {
	switch r := r.(type) {
	case *DID:
		c := *r
		c.DestXform = maps.Clone(r.DestXform)
		return &c
	case *TimeSchedule:
		c := *r
		c.Rules = slices.Clone(r.Rules)
		return &c
	case *CallFlow:
		c := *r
		c.Graph, c.LiveGraph = r.Graph.Clone(), r.LiveGraph.Clone()
		return &c
	case *SIPTrunk:
		c := *r
		c.InboundACL, c.Codecs, c.FailCodes = slices.Clone(r.InboundACL), slices.Clone(r.Codecs), slices.Clone(r.FailCodes)
		return &c
	case *OutboundRoute:
		c := *r
		c.Trunks = slices.Clone(r.Trunks)
		return &c
	case *Forward:
		c := *r
		return &c
	case *Secret:
		c := *r
		return &c
	case *Voicemail:
		c := *r
		return &c
	case *VoicemailMessage:
		c := *r
		return &c
	case *Conference:
		c := *r
		return &c
	case *MediaFile:
		c := *r
		return &c
	case *MediaPlaylist:
		c := *r
		c.MediaIDs = slices.Clone(r.MediaIDs)
		return &c
	case *Queue:
		c := *r
		c.MaxQueued, c.EWTThresholdSec = cloneNumber(r.MaxQueued), cloneNumber(r.EWTThresholdSec)
		c.SkillRelax = slices.Clone(r.SkillRelax)
		return &c
	case *AgentQueueAssignment:
		c := *r
		return &c
	case *InQueueOption:
		c := *r
		return &c
	}
	return nil
}

func cloneNumber(n *int) *int {
	if n == nil {
		return nil
	}
	c := *n
	return &c
}
