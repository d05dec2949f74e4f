//! What can be wrong with parameter sets.

/// Why a sequence parameter set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpsError {
    /// It ends before its last mandatory field.
    #[error("SPS of {length} bytes is cut off")]
    CutOff {
        /// Bytes of the NAL unit.
        length: usize,
    },
    /// A field has a value that the standard does not allow.
    #[error("SPS field {field} is {value}")]
    Field {
        /// Its name in the standard.
        field: &'static str,
        /// Its value, out of range.
        value: i64,
    },
}

/// Why a parameter set was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The SPS cannot be read.
    #[error(transparent)]
    Sps(#[from] SpsError),
    /// The PPS cannot be read.
    #[error("PPS of {length} bytes cannot be read")]
    Pps {
        /// Bytes of the NAL unit.
        length: usize,
    },
    /// The VPS cannot be read.
    #[error("VPS of {length} bytes cannot be read")]
    Vps {
        /// Bytes of the NAL unit.
        length: usize,
    },
    /// Longer than 4 KiB.
    #[error("parameter set of {length} bytes")]
    TooLong {
        /// Bytes of the NAL unit.
        length: usize,
    },
}

/// Real parameter sets have tens of bytes. With 32 SPS and 256 PPS of H.264 the store is bounded by 1.2 MB, with 16 VPS, 16
/// SPS and 64 PPS of H.265 by 400 KB.
const MAX_LENGTH: usize = 4096;

/// Whether so long a parameter set is believed.
pub(in crate::codec) fn check_length(unit: &[u8]) -> Result<(), ParameterError> {
    if unit.len() > MAX_LENGTH {
        return Err(ParameterError::TooLong { length: unit.len() });
    }
    Ok(())
}
