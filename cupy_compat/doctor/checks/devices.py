"""Checks: the driver, the GPU or its memory fails."""

from __future__ import annotations

from ._check import Check

_MEMORY = (
    "Check with `nvidia-smi` which processes use GPU memory, and end those that you do not need.",
    "Free the memory that CuPy keeps: `cupy.get_default_memory_pool().free_all_blocks()`. If "
    "other libraries share the process, set a limit with CUPY_GPU_MEMORY_LIMIT.",
    "Process the data in smaller pieces.",
)
_DRIVER = (
    "Check whether `nvidia-smi` works. If not, restart the machine, or reinstall the driver.",
    "In a container, start it with GPUs (`docker run --gpus all`).",
)

DEVICES = (
    Check(
        "no-driver",
        "no NVIDIA driver is found",
        "There is no NVIDIA driver, or this process cannot access it.",
        (
            "On a machine without a GPU, there is nothing to do: CuPy can be imported, but not "
            "used.",
            "Otherwise, install the NVIDIA driver. Start a container with GPUs (`docker run --gpus "
            "all`).",
        ),
        says=("cudaErrorInsufficientDriver",),
        condition=lambda machine: machine.here and not machine.driver and not machine.rocm,
        source="seen on machines without a GPU",
    ),
    Check(
        "old-driver",
        "the NVIDIA driver is older than the CUDA that this CuPy is for",
        "The driver supports at most {driver}, and this CuPy is for {cuda}.",
        ("Install the wheel for this driver: {reinstall}.", "Or upgrade the driver."),
        says=("cudaErrorInsufficientDriver",),
        condition=lambda machine: machine.here and bool(machine.driver),
        source="read in CUDA",
    ),
    Check(
        "insufficient-driver",
        "the NVIDIA driver is missing, or older than CuPy's CUDA",
        "CUDA reports this in two cases: there is no driver (no GPU, or a container without GPUs), "
        "or the driver is older than the CUDA that CuPy uses.",
        (
            "Check whether `nvidia-smi` works, and which CUDA version it shows.",
            "If it does not work: install the driver, or start the container with GPUs (`docker "
            "run --gpus all`).",
            "If that CUDA version is older than the one in the wheel's name: upgrade the driver, "
            "or install the wheel for that version.",
        ),
        says=("cudaErrorInsufficientDriver",),
        condition=lambda machine: not machine.here,
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInsufficientDriver: "
        "CUDA driver version is insufficient for CUDA runtime version",
        source="nagadomi/nunif#702",
    ),
    Check(
        "no-device",
        "the driver shows no GPU to this process",
        "The driver works, but lists no GPU for this process. {visible}. A container or job may "
        "have no GPUs. In WSL2, another libcuda may come before the one in /usr/lib/wsl/lib.",
        (
            "Unset CUDA_VISIBLE_DEVICES, or set it to a GPU that `nvidia-smi -L` lists.",
            "Request a GPU for the container (`--gpus all`) or the job (`--gres=gpu:1`).",
            "In WSL2, put /usr/lib/wsl/lib first in LD_LIBRARY_PATH.",
        ),
        says=("cudaErrorNoDevice", "CUDA_ERROR_NO_DEVICE"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorNoDevice: no "
        "CUDA-capable device is detected",
        source="read in CUDA",
    ),
    Check(
        "no-rocm-device",
        "ROCm shows no GPU to this process",
        "ROCm lists no AMD GPU for this process.",
        (
            "Check whether `rocminfo` lists the GPU. The user must be in the groups `render` and "
            "`video`.",
            "In a container, pass the devices: `--device=/dev/kfd --device=/dev/dri`.",
            "Unset HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES, or set them to a GPU that exists.",
        ),
        says=("hipErrorNoDevice",),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: hipErrorNoDevice: no "
        "ROCm-capable device is detected",
        source="read in HIP",
    ),
    Check(
        "spacy-no-gpu",
        "spaCy found no GPU that CuPy can use",
        "spaCy prints this if CuPy is missing, fails, or finds no GPU, and hides the reason.",
        (
            'To see the reason, run `python -c "import cupy; cupy.zeros(1)"` or `cupy-compat '
            "doctor --gpu`.",
        ),
        says=(
            "No GPU devices detected",
            "GPU is not accessible. Was the library installed correctly",
        ),
        example="ValueError: GPU is not accessible. Was the library installed correctly?",
        source="explosion/spaCy#3496",
        shared=True,
        after=("*",),
    ),
    Check(
        "invalid-device",
        "the program uses a GPU that does not exist",
        "This process has no GPU with that number. CUDA_VISIBLE_DEVICES renumbers GPUs from 0.",
        ("Use a number that `nvidia-smi -L` lists, or change CUDA_VISIBLE_DEVICES.",),
        says=("cudaErrorInvalidDevice:", "CUDA_ERROR_INVALID_DEVICE"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInvalidDevice: invalid "
        "device ordinal",
        source="read in CUDA",
    ),
    Check(
        "fabric-manager",
        "the machine's NVSwitch is not ready",
        "On machines with NVSwitch (DGX, HGX), CUDA works only while NVIDIA's Fabric Manager runs, "
        "in exactly the driver's version.",
        (
            "Run `sudo systemctl restart nvidia-fabricmanager`, and check its status.",
            "Install the nvidia-fabricmanager of the driver's version.",
        ),
        says=("cudaErrorSystemNotReady", "CUDA_ERROR_SYSTEM_NOT_READY"),
        example="cupy.cuda.runtime.CUDARuntimeError: cudaErrorSystemNotReady: system not yet "
        "initialized",
        source="cupy/cupy#2845",
    ),
    Check(
        "driver-mismatch",
        "parts of the NVIDIA driver have different versions",
        "The driver's library and its kernel module have different versions. Usually, the driver "
        "was upgraded without a restart, or a container contains its own library of the driver.",
        ("Restart the machine.", "In a container, remove the driver's libraries from its image."),
        says=(
            "cudaErrorSystemDriverMismatch",
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "Driver/library version mismatch",
        ),
        example="CUDARuntimeError: cudaErrorSystemDriverMismatch: system has unsupported display "
        "driver / cuda driver combination",
        source="read in CUDA",
    ),
    Check(
        "forward-compatibility",
        "CUDA's compatibility package does not work on this GPU",
        "A cuda-compat library, often from a container, replaces the driver's library. It works "
        "only on data-centre GPUs.",
        (
            "Upgrade the driver, or use a container for a CUDA that the driver supports.",
            "Remove the folder `compat` from LD_LIBRARY_PATH.",
        ),
        says=("cudaErrorCompatNotSupportedOnDevice", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        example="CUDARuntimeError: cudaErrorCompatNotSupportedOnDevice: forward compatibility was "
        "attempted on non supported HW",
        source="read in CUDA",
    ),
    Check(
        "driver-stub",
        "a stub of a CUDA library is loaded",
        "The toolkit's folder `stubs` contains empty libraries for linking. The loader found one "
        "of them before the real library.",
        ("Remove the folders named `stubs` from LD_LIBRARY_PATH.",),
        says=("cudaErrorStubLibrary", "CUDA_ERROR_STUB_LIBRARY", "using the stub version of"),
        example="CUDARuntimeError: cudaErrorStubLibrary: CUDA driver is a stub library",
        source="read in CUDA",
    ),
    Check(
        "container-driver",
        "the driver's libraries in a container do not match the driver",
        "CUDA cannot start, because the driver's library lacks a symbol. This happens in Docker on "
        "WSL2 if the Windows driver was upgraded, but not Docker or the NVIDIA container toolkit.",
        (
            "Upgrade Docker Desktop or the NVIDIA container toolkit, and restart it.",
            "Outside a container, restart the machine after an upgrade of the driver.",
        ),
        says=("cudaErrorSymbolNotFound", "CUDA_ERROR_NOT_FOUND"),
        needs=("getdevicecount", "getdevice", "cuinit"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorSymbolNotFound: named "
        'symbol not found\n  File "x.pyx", in cupy_backends.cuda.api.runtime.getDeviceCount',
        source="open-webui/open-webui#2527",
        after=("kernel-name",),
    ),
    Check(
        "old-driver-call",
        "the driver is too old for a call of the CUDA runtime",
        "CuPy or a library uses a feature that needs a newer driver.",
        ("Upgrade the NVIDIA driver.", "Or use the CuPy for an older CUDA."),
        says=("cudaErrorCallRequiresNewerDriver",),
        example="CUDARuntimeError: cudaErrorCallRequiresNewerDriver: API call is not supported in "
        "the installed CUDA driver",
        source="read in CUDA",
    ),
    Check(
        "busy",
        "the GPU is busy or in exclusive mode",
        "Another process uses the GPU, and the compute mode allows only one. Or that process has "
        "just ended, and the driver has not released the GPU yet.",
        (
            "Check the processes and the compute mode with `nvidia-smi`.",
            "Reset the mode with `sudo nvidia-smi -c DEFAULT`, or start one process per GPU.",
        ),
        says=("cudaErrorDevicesUnavailable", "CUDA_ERROR_DEVICE_UNAVAILABLE"),
        example="CUDARuntimeError('cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are "
        "busy or unavailable')",
        source="rapidsai/dask-cuda#1342",
    ),
    Check(
        "fork",
        "CUDA cannot start in this process",
        "Usually, the process was forked (by `multiprocessing` on Linux, for example) after its "
        "parent had used CUDA. CUDA does not work after a fork. If there was no fork, the driver "
        "is unusable.",
        (
            'Spawn worker processes: `multiprocessing.set_start_method("spawn")`. Or do not use '
            "CUDA before the fork, not even by an import that uses the GPU.",
            "If the process is not a worker: check whether `nvidia-smi` works.",
        ),
        says=("cudaErrorInitializationError", "CUDA_ERROR_NOT_INITIALIZED"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInitializationError: "
        "initialization error",
        source="airspeed-velocity/asv#1565",
    ),
    Check(
        "unknown-error",
        "the NVIDIA driver is in an unusable state",
        "CUDA could not start, for an unknown reason. This happens after a machine was suspended, "
        "after an upgrade of the driver without a restart, on laptops with two GPUs, and in "
        "containers without the device /dev/nvidia-uvm.",
        (
            *_DRIVER,
            "On Linux, `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm` may make the "
            "restart unnecessary.",
        ),
        says=("cudaErrorUnknown", "CUDA_ERROR_UNKNOWN"),
        example="CUDARuntimeError: cudaErrorUnknown: unknown error",
        source="explosion/spaCy#2343",
    ),
    Check(
        "operating-system",
        "a call of the driver to the operating system failed",
        "The driver could not use its device files, or the system reached a limit.",
        _DRIVER,
        says=("cudaErrorOperatingSystem", "CUDA_ERROR_OPERATING_SYSTEM"),
        example="CUDARuntimeError: cudaErrorOperatingSystem: OS call failed or operation not "
        "supported on this OS",
        source="read in CUDA",
    ),
    Check(
        "hardware",
        "the GPU reports a hardware fault",
        "The GPU's memory has an uncorrectable error, or the GPU no longer responds.",
        (
            "Restart the machine. If it happens again, check the GPU, its power supply and its "
            "cooling (`nvidia-smi -q -d ECC`, `dmesg | grep Xid`).",
        ),
        says=(
            "cudaErrorECCUncorrectable",
            "CUDA_ERROR_ECC_UNCORRECTABLE",
            "cudaErrorHardwareStackError",
            "GPU has fallen off the bus",
        ),
        example="CUDARuntimeError: cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
        source="read in CUDA",
    ),
    Check(
        "thrust-memory",
        "a sort got no memory, so its result is wrong or the process ended",
        "Thrust, which sorts for CuPy, could not allocate its workspace. CuPy before 14.1 ignores "
        "this error, and the result may be wrong. CuPy 14.1 and later raise MemoryError.",
        ("Do not use the result.", "Upgrade to CuPy 14.1 or later: {upgrade}.", *_MEMORY),
        says=(
            "Exception ignored in: 'cupy.cuda.thrust.cupy_malloc'",
            "radix_sort: failed on",
            "merge_sort: failed on",
        ),
        example="Exception ignored in: 'cupy.cuda.thrust.cupy_malloc'",
        source="cupy/cupy#9894",
        printed=True,
    ),
    Check(
        "out-of-memory",
        "the GPU's memory is full",
        "CuPy requested more memory than was free on the GPU. Other processes, and other libraries "
        "in this process, use the same memory.",
        _MEMORY,
        says=(
            "OutOfMemoryError: Out of memory allocating",
            "cudaErrorMemoryAllocation",
            "CUDA_ERROR_OUT_OF_MEMORY",
            "hipErrorOutOfMemory",
            "hipErrorMemoryAllocation",
            "OutOfMemoryError: out of memory to allocate",
            "std::bad_alloc: out_of_memory",
        ),
        example="cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 800,000,512 bytes "
        "(allocated so far: 6,400,000,000 bytes).",
        source="cupy/cupy#9894",
        after=("thrust-memory",),
    ),
    Check(
        "bad-alloc",
        "native code could not allocate memory",
        "The memory of the GPU (for the workspace of a sort, for example) or of the host is full.",
        _MEMORY,
        says=("MemoryError: std::bad_alloc", "an instance of 'std::bad_alloc'"),
        needs=("cupy",),
        example="MemoryError: std::bad_alloc\n"
        '  File "cupy/cuda/thrust.pyx", line 100, in cupy.cuda.thrust.sort',
        source="cupy/cupy#9899",
        after=("out-of-memory", "thrust-memory"),
    ),
    Check(
        "library-handle",
        "a library could not initialize on the GPU",
        "cuBLAS, cuRAND and other libraries need memory outside CuPy's pool to initialize. "
        "Usually, the GPU's memory is full. Other possible causes are an unusable driver, and a "
        "GPU that this CUDA does not support.",
        (
            *_MEMORY,
            "If memory is free: check whether `nvidia-smi` works, and restart after a driver "
            "upgrade.",
        ),
        says=(
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CURAND_STATUS_INITIALIZATION_FAILED",
            "CURAND_STATUS_ALLOCATION_FAILED",
            "CUSOLVER_STATUS_NOT_INITIALIZED",
            "CUSOLVER_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_NOT_INITIALIZED",
            "CUSPARSE_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES",
            "CUFFT_ALLOC_FAILED",
            "CUFFT_SETUP_FAILED",
            "CUDNN_STATUS_NOT_INITIALIZED",
            "CUDNN_STATUS_ALLOC_FAILED",
        ),
        example="cupy_backends.cuda.libs.curand.CURANDError: CURAND_STATUS_INITIALIZATION_FAILED",
        source="explosion/spaCy#8272",
        after=("out-of-memory",),
    ),
    Check(
        "illegal-access",
        "a kernel accessed invalid memory",
        "A kernel of the program, a library or CuPy accessed memory outside its arrays, or "
        "crashed. CUDA reports this with a delay, and all later calls in the process fail.",
        (
            "Find the kernel: run with CUDA_LAUNCH_BLOCKING=1, or under `compute-sanitizer python "
            "...`.",
            "Restart Python, because this process can no longer use the GPU.",
        ),
        says=(
            "cudaErrorIllegalAddress",
            "CUDA_ERROR_ILLEGAL_ADDRESS",
            "cudaErrorMisalignedAddress",
            "CUDA_ERROR_MISALIGNED_ADDRESS",
            "cudaErrorLaunchFailure",
            "CUDA_ERROR_LAUNCH_FAILED",
            "cudaErrorAssert",
            "CUDA_ERROR_ASSERT",
        ),
        example="CUDARuntimeError: cudaErrorIllegalAddress: an illegal memory access was "
        "encountered",
        source="read in CUDA",
    ),
    Check(
        "other-context",
        "a kernel, stream or event belongs to another CUDA context",
        "Another library (PyCUDA, TensorRT, the ZED SDK) made its own context current. Or the "
        "program uses an object on another GPU than the one on which it was created.",
        (
            "Let the other library use the primary context (PyCUDA: `import "
            "pycuda.autoprimaryctx`), or pop its context before you call CuPy.",
            "With several GPUs, use each array, stream and kernel on the GPU on which it was "
            "created: `with cupy.cuda.Device(n):`.",
        ),
        says=(
            "CUDA_ERROR_INVALID_HANDLE",
            "cudaErrorInvalidResourceHandle",
            "CUDA_ERROR_INVALID_CONTEXT",
            "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        ),
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_INVALID_HANDLE: invalid "
        "resource handle",
        source="cupy/cupy#5827",
        after=("illegal-access",),
    ),
    Check(
        "launch-timeout",
        "a kernel ran too long on a GPU that drives a display",
        "The operating system aborts kernels that block the display for some seconds.",
        ("Launch smaller kernels, or use a GPU without a display.",),
        says=("cudaErrorLaunchTimeout", "CUDA_ERROR_LAUNCH_TIMEOUT"),
        example="CUDARuntimeError: cudaErrorLaunchTimeout: the launch timed out and was terminated",
        source="read in CUDA",
    ),
    Check(
        "own-launch-resources",
        "a kernel of CuPy was launched with more resources than the GPU has",
        "CuPy, not the program, chose the launch configuration. This is a bug in CuPy, or several "
        "threads used one kernel at the same time.",
        ("Upgrade CuPy: {upgrade}.", "Otherwise, report it to CuPy with the complete traceback."),
        says=("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "cudaErrorLaunchOutOfResources"),
        needs=("_simplereductionkernel",),
        example="CUDADriverError: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources\n  File "
        '"x.pyx", in cupy._core._reduction._SimpleReductionKernel.__call__',
        source="cupy/cupy#8772",
    ),
    Check(
        "launch-resources",
        "a kernel was launched with more resources than the GPU has",
        "The block uses more threads, registers or shared memory than this GPU allows.",
        ("Launch with fewer threads per block, or less shared memory.",),
        says=(
            "cudaErrorLaunchOutOfResources",
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            "cudaErrorInvalidConfiguration",
        ),
        example="CUDADriverError: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources "
        "requested for launch",
        source="read in CUDA",
        after=("own-launch-resources",),
    ),
    Check(
        "not-supported",
        "the GPU or its driver does not support a feature",
        "A feature (for example managed memory, the asynchronous pool, or peer access) is not "
        "available on this GPU, operating system or virtual machine.",
        ("Avoid the feature. For example, use CuPy's default memory pool.",),
        says=("cudaErrorNotSupported", "CUDA_ERROR_NOT_SUPPORTED"),
        example="CUDARuntimeError: cudaErrorNotSupported: operation not supported",
        source="read in CUDA",
    ),
    Check(
        "nccl",
        "communication with NCCL failed",
        "NCCL prints the reason only if debugging is on.",
        (
            "Run with NCCL_DEBUG=INFO, and read the last warnings.",
            "Make sure that all processes use the same NCCL, and each its own GPU.",
        ),
        says=(
            "NCCL_ERROR_UNHANDLED_CUDA_ERROR",
            "NCCL_ERROR_SYSTEM_ERROR",
            "NCCL_ERROR_INTERNAL_ERROR",
            "NCCL_ERROR_INVALID_USAGE",
        ),
        example="cupy_backends.cuda.libs.nccl.NcclError: NCCL_ERROR_UNHANDLED_CUDA_ERROR: "
        "unhandled cuda error",
        source="read in NCCL",
        after=("out-of-memory", "library-handle"),
    ),
    Check(
        "library-internal",
        "a CUDA library reports an internal error",
        "The library does not report the reason: an earlier failed kernel, full memory, a GPU that "
        "this CUDA does not support, or libraries of different versions.",
        (
            "Run with CUDA_LAUNCH_BLOCKING=1. If another error comes first, that one is the cause.",
            "Check with `nvidia-smi` how much GPU memory is free.",
            "Use the same CUDA version for all libraries.",
        ),
        says=(
            "CUBLAS_STATUS_INTERNAL_ERROR",
            "CUBLAS_STATUS_EXECUTION_FAILED",
            "CUBLAS_STATUS_ARCH_MISMATCH",
            "CUSOLVER_STATUS_INTERNAL_ERROR",
            "CUSOLVER_STATUS_EXECUTION_FAILED",
            "CUSPARSE_STATUS_INTERNAL_ERROR",
            "CUSPARSE_STATUS_EXECUTION_FAILED",
            "CURAND_STATUS_INTERNAL_ERROR",
            "CURAND_STATUS_LAUNCH_FAILURE",
            "CURAND_STATUS_PREEXISTING_FAILURE",
            "CUFFT_INTERNAL_ERROR",
            "CUFFT_EXEC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR",
            "CUDNN_STATUS_EXECUTION_FAILED",
        ),
        example="cupy.cuda.cublas.CUBLASError: CUBLAS_STATUS_EXECUTION_FAILED",
        source="read in CUDA",
        after=("illegal-access", "out-of-memory", "library-handle"),
    ),
)
