package main

import (
	"flag"
	"strings"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
)

var (
	noMarker    = flag.Bool("no-marker", false, "send video without marker bits")
	payloadType = flag.Uint("video-payload-type", 0, "send video under this payload type, whatever the answer says")
)

// oddSender changes the headers of video as some cameras would write them.
type oddSender struct {
	interceptor.NoOp
}

func (oddSender) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &oddSender{}, nil
}

func (*oddSender) BindLocalStream(info *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	if !strings.HasPrefix(info.MimeType, "video/") {
		return writer
	}
	return interceptor.RTPWriterFunc(func(header *rtp.Header, payload []byte, attributes interceptor.Attributes) (int, error) {
		if *noMarker {
			header.Marker = false
		}
		if *payloadType != 0 {
			header.PayloadType = uint8(*payloadType)
		}
		return writer.Write(header, payload, attributes)
	})
}
