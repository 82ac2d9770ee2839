package controller

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
)

// trunks is what the endpoints need of trunks: the live state, and the list of them all.
type trunks struct{ *actor.Presence }

// Active lists the trunks in use.
func (trunks) Active(dir brain.Directory) []*brain.SIPTrunk { return config.ActiveTrunks(dir) }
