package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

const (
	frameTime  = time.Second / 30
	packetTime = 20 * time.Millisecond
)

var startCode = []byte{0, 0, 0, 1}

// accessUnit is what has one time: NAL units behind start codes.
type accessUnit struct {
	data []byte
	key  bool
}

// accessUnits reads a byte stream in which each access unit begins with a delimiter.
func accessUnits(path string) ([]accessUnit, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader, err := h264reader.NewReaderWithOptions(file, h264reader.WithIncludeSEI(true))
	if err != nil {
		return nil, err
	}
	var units []accessUnit
	for {
		nal, err := reader.NextNAL()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		if nal.UnitType == h264reader.NalUnitTypeAUD {
			units = append(units, accessUnit{})
		}
		unit := &units[len(units)-1]
		unit.data = append(append(unit.data, startCode...), nal.Data...)
		unit.key = unit.key || nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr
	}
}

// opusPackets reads an Ogg file whose pages hold one packet each.
func opusPackets(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader, _, err := oggreader.NewWith(file)
	if err != nil {
		return nil, err
	}
	var packets [][]byte
	for {
		page, _, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return packets, nil
		}
		if err != nil {
			return nil, err
		}
		if string(page[:min(len(page), 8)]) != "OpusTags" {
			packets = append(packets, page)
		}
	}
}

// player plays the same files to one viewer after another; no access unit is sent twice.
type player struct {
	video []accessUnit
	audio [][]byte
	// The place of the next access unit.
	next  int
	ended atomic.Bool
	// Held by the viewer that is played to.
	playing sync.Mutex
}

// playVideo sends so many access units, or all when it is 0: the first is a key frame, and so is the next after `wanted`.
func (p *player) playVideo(track *webrtc.TrackLocalStaticSample, wanted, stop *atomic.Bool, most int, sent func(int)) {
	start := time.Now()
	wanted.Store(true)
	for count := 0; (most == 0 || count < most) && !p.ended.Load() && !stop.Load(); count++ {
		if wanted.Swap(false) {
			for p.next < len(p.video) && !p.video[p.next].key {
				p.next++
			}
		}
		if p.next >= len(p.video) {
			return
		}
		sent(p.next)
		if track.WriteSample(media.Sample{Data: p.video[p.next].data, Duration: frameTime}) != nil {
			return
		}
		p.next++
		time.Sleep(time.Until(start.Add(time.Duration(count+1) * frameTime)))
	}
}

func (p *player) playAudio(track *webrtc.TrackLocalStaticSample, stop *atomic.Bool) {
	start := time.Now()
	for count := 0; !p.ended.Load() && !stop.Load(); count++ {
		packet := p.audio[count%len(p.audio)]
		if track.WriteSample(media.Sample{Data: packet, Duration: packetTime}) != nil {
			return
		}
		time.Sleep(time.Until(start.Add(time.Duration(count+1) * packetTime)))
	}
}
