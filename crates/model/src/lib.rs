//! A network and a process make a denoiser; opening and writing model folders.
